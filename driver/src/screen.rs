//! What people see: lines and complaints by [`batchkv_cli::screen`], and numbers in words.

use std::fmt::Display;

pub(crate) use batchkv_cli::screen::{say, show};

/// Prints a complaint.
pub(crate) fn complain(line: impl Display) {
    batchkv_cli::screen::complain("batchkv-client", line);
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
