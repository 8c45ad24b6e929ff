//! What people see. Writing never panics: when nobody reads any more, the run goes on, for its
//! result files.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line.
pub(crate) fn say(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Prints bytes as they are, and a line's end.
pub(crate) fn show(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes);
    let _ = writeln!(out);
}

/// Prints a complaint.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "batchkv-client: {line}");
}

/// A count with thousands separated: `13,456,789`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of a thing: `1 client`, `2 clients`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let texts = [0, 1, 2].map(|count| counted(count, "core"));
        assert_eq!(texts, ["0 cores", "1 core", "2 cores"]);
    }

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1000, 13_456_789].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "13,456,789"]);
    }
}
