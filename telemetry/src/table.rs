//! Tables as text, by the `csv` crate: lines that are written one at a time, and texts that are read whole.

use csv::{ReaderBuilder, StringRecord, Writer};

/// A line of a table, with its end.
#[must_use]
pub fn line(fields: impl IntoIterator<Item: ToString>) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    let fields: Vec<String> = fields.into_iter().map(|field| field.to_string()).collect();
    let written = writer.write_record(&fields);
    written.expect("fields of one line have no encoding that fails");
    let bytes = writer.into_inner().expect("memory takes every byte");
    String::from_utf8(bytes).expect("what is put together of text is text")
}

/// The lines of a whole table, its header first.
///
/// # Errors
/// When its last line has no end, or a line cannot be read.
pub fn lines(text: &str) -> Result<Vec<StringRecord>, String> {
    if !text.ends_with('\n') {
        return Err("its last line is cut off".into());
    }
    // Who reads it says which line has how many fields.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let lines: Result<_, csv::Error> = reader.records().collect();
    lines.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_whatever_stands_in_it() {
        let text = line(["node", "a, \"b\"\n", ""]) + &line([1.5, 2.0]);
        let read = lines(&text).unwrap();
        assert_eq!(read[0], ["node", "a, \"b\"\n", ""][..]);
        assert_eq!(read[1], ["1.5", "2"][..]);
        assert!(lines(&text[..text.len() - 1]).is_err() && lines("").is_err());
    }
}
