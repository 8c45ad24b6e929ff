//! `latency.hlog`: an HDR V2 interval log with one interval for each second of the window, and three more
//! with a tag each; five where the servers tell their time.
//!
//! ```text
//! generated ---- fill ----> batch closed ---- queue ----> frame written ---- service ----> answer decoded
//!     +------------------------------------ total, without a tag -----------------------------+
//! service = server (from the frame's reading to its answers' finishing, told with each frame of answers)
//!         + network (all else, both ways)
//! ```
//!
//! An open loop's operations are generated when they were to arrive, so their total is the response time
//! and their service the service time. Values are nanoseconds, and the log's own `Interval_Max` column milliseconds: what the existing
//! tools (HistogramLogProcessor and its relatives) take a log to be when nobody says otherwise.

use std::time::{Duration, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::measured::latency::{Latencies, LatencyPart, PackedLatencies};

/// Nanoseconds in the unit of the log's `Interval_Max` column.
const NANOS_PER_MILLI: f64 = 1e6;
/// Longest histogram that is read, in bytes of its text; honest ones have kilobytes.
const ENCODED_BYTES_MAX: usize = 16 << 20;

/// Tools look at lines without a tag unless they are told to do otherwise.
fn tag(part: LatencyPart) -> Option<Tag<'static>> {
    Tag::new(part.name()).filter(|_| part != LatencyPart::Total)
}

fn tagged(tag: Option<Tag<'_>>) -> Option<LatencyPart> {
    let name = tag.as_deref().unwrap_or(LatencyPart::Total.name());
    LatencyPart::ALL
        .into_iter()
        .find(|part| part.name() == name)
}

/// A comment that begins like this says whose the log is.
const STAMP: &str = "[batchkv run ";

/// Whose a log is.
pub(crate) fn stamp(text: &str) -> Option<String> {
    let comments = text.lines().filter_map(|line| line.strip_prefix('#'));
    let mut stamps = comments.filter_map(|comment| comment.strip_prefix(STAMP)?.strip_suffix(']'));
    stamps.next().map(str::to_owned)
}

/// The window's latencies, second by second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LatencyLog {
    /// The window's start, in seconds since 1970.
    pub(crate) start_unix_time: f64,
    pub(crate) intervals: Vec<PackedLatencies>,
}

impl LatencyLog {
    /// The log, of the run and client that `stamp` names.
    pub(crate) fn to_bytes(&self, stamp: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let start = UNIX_EPOCH + Duration::from_secs_f64(self.start_unix_time.max(0.0));
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(
                "[batchkv: latency of each operation, in nanoseconds; maxima in milliseconds; tagged: its parts]",
            )
            .add_comment(&format!("{STAMP}{stamp}]"))
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(NANOS_PER_MILLI)
            .begin_log_with(&mut bytes, &mut serializer)
            .expect("a vector takes everything");
        let known = |part: LatencyPart| self.intervals.iter().any(|i| !i.is_empty(part));
        let parts: Vec<LatencyPart> = LatencyPart::ALL
            .into_iter()
            .filter(|part| !part.is_told() || known(*part))
            .collect();
        for (second, interval) in (0..).zip(&self.intervals) {
            let (from, length) = (Duration::from_secs(second), Duration::from_secs(1));
            for &part in &parts {
                writer
                    .write_histogram(&interval.histogram(part), from, length, tag(part))
                    .expect("counts of operations fit the format, and a vector takes everything");
            }
        }
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes)'s log.
    ///
    /// # Errors
    /// What is wrong, and in which interval.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.ends_with(b"\n") {
            return Err("its last line is cut off".into());
        }
        let mut log = Self {
            start_unix_time: 0.0,
            intervals: Vec::new(),
        };
        let mut deserializer = Deserializer::new();
        // The second whose parts are being read.
        let mut second: Option<Latencies> = None;
        for (entry, number) in IntervalLogIterator::new(bytes).zip(1..) {
            match entry.map_err(|_| format!("its entry {number} cannot be read"))? {
                LogEntry::StartTime(start) => log.start_unix_time = start.as_secs_f64(),
                LogEntry::BaseTime(_) => {}
                LogEntry::Interval(interval) => {
                    let part = tagged(interval.tag());
                    let part = part.ok_or_else(|| format!("its entry {number} has another tag"))?;
                    let histogram = decode(interval.encoded_histogram(), part, &mut deserializer);
                    let histogram =
                        histogram.ok_or_else(|| format!("its entry {number} is no histogram"))?;
                    if part == LatencyPart::Total {
                        let whole = second.replace(Latencies::new());
                        log.intervals.extend(whole.map(|second| second.pack()));
                    }
                    let second = second.as_mut().ok_or("it begins with a part")?;
                    second.set(part, histogram);
                }
            }
        }
        log.intervals.extend(second.map(|second| second.pack()));
        Ok(log)
    }

    /// All intervals in one, bucket by bucket.
    pub(crate) fn total(&self) -> Latencies {
        let mut total = Latencies::new();
        for interval in &self.intervals {
            total.add(&interval.unpack());
        }
        total
    }
}

fn decode(
    text: &str,
    part: LatencyPart,
    deserializer: &mut Deserializer,
) -> Option<Histogram<u64>> {
    if text.len() > ENCODED_BYTES_MAX {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let read: Histogram<u64> = deserializer.deserialize(&mut bytes.as_slice()).ok()?;
    Some(part.of_our_bounds(&read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LatencyLog {
        let mut intervals = vec![Latencies::new(); 3];
        let nanos = Duration::from_nanos;
        intervals[0].record(LatencyPart::Total, nanos(1_500), 100);
        intervals[0].record(LatencyPart::Total, nanos(7_654_321), 3);
        intervals[0].record(LatencyPart::Queue, nanos(7_000_000), 3);
        intervals[2].record(LatencyPart::Total, nanos(90_000_000_000), 1);
        intervals[2].record(LatencyPart::Service, nanos(1_000), 1);
        LatencyLog {
            start_unix_time: 1_790_000_000.25,
            intervals: intervals.iter().map(Latencies::pack).collect(),
        }
    }

    #[test]
    fn a_log_survives_writing_and_reading() {
        let read = LatencyLog::from_bytes(&log().to_bytes("5e.0")).unwrap();
        assert_eq!(read, log());
    }

    #[test]
    fn the_header_names_version_and_units() {
        let text = String::from_utf8(log().to_bytes("5e.0")).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"));
        assert!(text.contains("nanoseconds") && text.contains("#[MaxValueDivisor: 1000000.000]"));
        assert!(text.contains("\n0.000,1.000,7.6"), "{text}");
        assert!(text.contains("\nTag=queue,0.000,1.000,7.0"), "{text}");
    }

    #[test]
    fn the_servers_part_stands_there_only_if_it_is_told() {
        let mut log = log();
        let has_part = |log: &LatencyLog| {
            String::from_utf8(log.to_bytes("5e.0"))
                .unwrap()
                .contains("Tag=server")
        };
        assert!(!has_part(&log));
        let mut second = log.intervals[1].unpack();
        second.record(LatencyPart::Server, Duration::from_nanos(900), 1);
        log.intervals[1] = second.pack();
        assert!(has_part(&log));
        assert_eq!(LatencyLog::from_bytes(&log.to_bytes("5e.0")).unwrap(), log);
    }

    #[test]
    fn parts_need_their_second_and_a_known_name() {
        let text = String::from_utf8(log().to_bytes("5e.0")).unwrap();
        let queue = text.lines().find(|line| line.starts_with("Tag=queue"));
        let alone = format!("{}\n", queue.unwrap());
        let fault = |text: &str| LatencyLog::from_bytes(text.as_bytes()).unwrap_err();
        assert_eq!(fault(&alone), "it begins with a part");
        let other = alone.replace("queue", "lunch");
        assert_eq!(fault(&other), "its entry 1 has another tag");
    }

    #[test]
    fn a_cut_inside_a_line_is_an_error() {
        let bytes = log().to_bytes("5e.0");
        for cut in [1, 2, 20] {
            assert!(LatencyLog::from_bytes(&bytes[..bytes.len() - cut]).is_err());
        }
        assert!(LatencyLog::from_bytes(b"").is_err());
        assert!(LatencyLog::from_bytes(b"0.000,1.000,1.0,HISTFAAAAB4=\n").is_err());
        assert!(LatencyLog::from_bytes(b"nonsense\n").is_err());
    }

    #[test]
    fn sums_keep_every_count_and_the_percentiles_of_all() {
        let total = log().total();
        let counts = LatencyPart::ALL.map(|part| total.of(part).len());
        assert_eq!(counts, [104, 0, 3, 1, 0, 0]);
        let micros = total.micros(LatencyPart::Total).unwrap();
        assert!((micros.p50 - 1.5).abs() < 0.01 && micros.max > 89e6);
        assert!(total.micros(LatencyPart::Fill).is_none());
    }
}
