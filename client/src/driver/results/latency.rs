//! `latency.hlog`: an HDR V2 interval log with one interval for each second of the window.
//!
//! Values are nanoseconds, and the log's own `Interval_Max` column milliseconds: what the existing
//! tools (HistogramLogProcessor and its relatives) take a log to be when nobody says otherwise.

use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::summary::LatencyMicros;

/// Longest latency that is told apart from longer ones, in nanoseconds: ten minutes.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
/// Nanoseconds in the unit of the log's `Interval_Max` column.
const NANOS_PER_MILLI: f64 = 1e6;
/// Longest histogram that is read, in bytes of its text; honest ones have kilobytes.
const ENCODED_BYTES_MAX: usize = 16 << 20;

/// Latencies of operations, in nanoseconds; 0.1 % exact.
pub(crate) type Latencies = Histogram<u64>;

/// An empty histogram of latencies.
pub(crate) fn latencies() -> Latencies {
    Latencies::new_with_bounds(1, LATENCY_NANOS_MAX, SIGNIFICANT_DIGITS)
        .expect("the bounds and digits are among the allowed ones")
}

/// The window's latencies, second by second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LatencyLog {
    /// The window's start, in seconds since 1970.
    pub(crate) start_unix_time: f64,
    pub(crate) intervals: Vec<Latencies>,
}

impl LatencyLog {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let start = UNIX_EPOCH + Duration::from_secs_f64(self.start_unix_time.max(0.0));
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(
                "[batchkv: latency of each operation, in nanoseconds; maxima in milliseconds]",
            )
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(NANOS_PER_MILLI)
            .begin_log_with(&mut bytes, &mut serializer)
            .expect("a vector takes everything");
        for (second, interval) in (0..).zip(&self.intervals) {
            let (from, length) = (Duration::from_secs(second), Duration::from_secs(1));
            writer
                .write_histogram(interval, from, length, None)
                .expect("counts of operations fit the format, and a vector takes everything");
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
        for entry in IntervalLogIterator::new(bytes) {
            let number = log.intervals.len() + 1;
            match entry.map_err(|_| format!("no interval {number} can be read"))? {
                LogEntry::StartTime(start) => log.start_unix_time = start.as_secs_f64(),
                LogEntry::BaseTime(_) => {}
                LogEntry::Interval(interval) => {
                    let histogram = decode(interval.encoded_histogram(), &mut deserializer);
                    let histogram = histogram.ok_or_else(|| format!("interval {number}"))?;
                    log.intervals.push(histogram);
                }
            }
        }
        Ok(log)
    }

    /// All intervals in one, bucket by bucket.
    pub(crate) fn total(&self) -> Latencies {
        let mut total = latencies();
        for interval in &self.intervals {
            add(&mut total, interval);
        }
        total
    }
}

/// Adds a histogram bucket by bucket; what lies beyond the greatest bucket counts there.
pub(crate) fn add(sum: &mut Latencies, other: &Latencies) {
    for bucket in other.iter_recorded() {
        sum.saturating_record_n(bucket.value_iterated_to(), bucket.count_at_value());
    }
}

/// Mean and percentiles in microseconds, or `None` when nothing was recorded.
pub(crate) fn micros(latencies: &Latencies) -> Option<LatencyMicros> {
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    (!latencies.is_empty()).then(|| LatencyMicros {
        mean: latencies.mean() / 1e3,
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: latencies.max() as f64 / 1e3,
    })
}

fn decode(text: &str, deserializer: &mut Deserializer) -> Option<Latencies> {
    if text.len() > ENCODED_BYTES_MAX {
        return None;
    }
    let bytes = base64_decode(text)?;
    let read: Latencies = deserializer.deserialize(&mut bytes.as_slice()).ok()?;
    // Brought to our own bounds, so that histograms of other bounds can be added and compared.
    let mut histogram = latencies();
    add(&mut histogram, &read);
    Some(histogram)
}

/// Standard base64 with padding, which interval logs are written in.
fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let sextet = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for part in digits.chunks(4) {
        let mut word = 0_u32;
        for (place, &digit) in part.iter().enumerate() {
            word |= u32::from(sextet(digit)?) << (26 - 6 * place);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[..part.len() * 3 / 4]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LatencyLog {
        let mut intervals = vec![latencies(), latencies(), latencies()];
        intervals[0].record_n(1_500, 100).unwrap();
        intervals[0].record_n(7_654_321, 3).unwrap();
        intervals[2].record_n(90_000_000_000, 1).unwrap();
        LatencyLog {
            start_unix_time: 1_790_000_000.25,
            intervals,
        }
    }

    #[test]
    fn a_log_survives_writing_and_reading() {
        let read = LatencyLog::from_bytes(&log().to_bytes()).unwrap();
        assert_eq!(read, log());
    }

    #[test]
    fn the_header_names_version_and_units() {
        let text = String::from_utf8(log().to_bytes()).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"));
        assert!(text.contains("nanoseconds") && text.contains("#[MaxValueDivisor: 1000000.000]"));
        assert!(text.contains("\n0.000,1.000,7.6"), "{text}");
    }

    #[test]
    fn a_cut_inside_a_line_is_an_error() {
        let bytes = log().to_bytes();
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
        assert_eq!(total.len(), 104);
        let micros = micros(&total).unwrap();
        assert!((micros.p50 - 1.5).abs() < 0.01 && micros.max > 89e6);
        assert!(super::micros(&latencies()).is_none());
    }

    #[test]
    fn base64_is_the_standard_one() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
        ] {
            assert_eq!(base64_decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64_decode("Zm9"), None);
        assert_eq!(base64_decode("Z!9v"), None);
    }
}
