//! What flags take: counts, numbers, durations and sizes, each with one way to be written.
//!
//! A parser here is a `value_parser` of clap's. It takes every form that can mean only one thing, and
//! its complaint states the forms and the range.
//!
//! ```text
//! count     128   1_000_000   1e6   1.5e3   8k   1M           k, M, G, T are powers of 1000
//! number    0.99  1e-3  20_000  1.5M
//! duration  10s   500ms   1.5m   1h   250us                   without a unit the flag's own
//! size      1048576   1e9   64MiB   1.5GB                     kB is 1000 bytes, KiB 1024
//! ```
//! `64M` is no size: it is read as 64e6 by some and as 64 MiB by others.

use std::fmt;
use std::time::Duration;

/// Powers of 1000 behind counts and numbers.
const SCALES: [(&str, i32); 6] = [("", 0), ("k", 3), ("K", 3), ("M", 6), ("G", 9), ("T", 12)];
/// Units of time, in nanoseconds.
const TIMES: [(&str, u128); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("secs", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Units of size, in bytes.
const SIZES: [(&str, u128); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A whole number from `least` to `most`.
pub fn count<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: Copy + PartialOrd + fmt::Display + TryFrom<u128> + Send + Sync + 'static,
{
    move |text| {
        let read = Decimal::scaled(text).and_then(|decimal| decimal.whole(1));
        let fits = read.and_then(|count| T::try_from(count).ok());
        fits.filter(|count| (least..=most).contains(count))
            .ok_or_else(|| {
                format!(
                    "allowed are whole numbers from {least} to {most}, \
                     written like 128, 1_000_000, 1e6, 8k (8000) or 1M"
                )
            })
    }
}

/// A finite number from `least` to `most`; `f64::MAX` is no bound.
pub fn number(
    least: f64,
    most: f64,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let read = Decimal::scaled(text).and_then(|decimal| decimal.number());
        read.filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                let range = match most {
                    f64::MAX => format!("{least} up"),
                    _ => format!("{least} to {most}"),
                };
                format!("allowed are numbers from {range}, written like 0.99, 20_000, 1e-3 or 1M")
            })
    }
}

/// A duration from `least` to `most`; a number without a unit is of seconds.
pub fn seconds(
    least: Duration,
    most: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    duration(
        least,
        most,
        "s",
        "10, 1.5, 10s, 500ms or 2m; without a unit they are seconds",
    )
}

/// As [`seconds`]; a number without a unit is of milliseconds.
pub fn millis(
    least: Duration,
    most: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    duration(
        least,
        most,
        "ms",
        "10, 0.5, 500us or 1s; without a unit they are milliseconds",
    )
}

/// Whole seconds from `least` to `most`, for what is counted second by second.
pub fn whole_seconds(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let nanos = Decimal::timed(text, "s");
        let secs = nanos.filter(|nanos| nanos % 1_000_000_000 == 0);
        let secs = secs.and_then(|nanos| u64::try_from(nanos / 1_000_000_000).ok());
        secs.filter(|secs| (least..=most).contains(secs))
            .ok_or_else(|| {
                format!(
                    "allowed are whole seconds from {least} to {most}, written like 30, 30s or 2m"
                )
            })
    }
}

fn duration(
    least: Duration,
    most: Duration,
    unit: &'static str,
    forms: &'static str,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let nanos = Decimal::timed(text, unit).and_then(|nanos| u64::try_from(nanos).ok());
        let duration = nanos.map(Duration::from_nanos);
        duration
            .filter(|duration| (least..=most).contains(duration))
            .ok_or_else(|| format!("allowed are {least:?} to {most:?}, written like {forms}"))
    }
}

/// A size in bytes from `least` to `most`.
pub fn bytes(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let read = Decimal::read(text).and_then(|(decimal, unit)| {
            let scale = of_unit(&SIZES, unit)?;
            u64::try_from(decimal.whole(scale)?).ok()
        });
        read.filter(|size| (least..=most).contains(size))
            .ok_or_else(|| {
                let range = match most {
                    u64::MAX => format!("{least} bytes and more"),
                    _ => format!("{least} to {most} bytes"),
                };
                format!(
                    "allowed are {range}, written like 1048576, 1e9, 64MiB (1024 x 1024) or \
                     1.5GB (1000 x 1000 x 1000)"
                )
            })
    }
}

/// `digits` times ten to the power of `exponent`: nothing of what was written is lost.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Reads a number without a sign, and returns what stands behind it.
    fn read(text: &str) -> Option<(Self, &str)> {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && !"_.".contains(letter));
        let (mut number, mut rest) = text.split_at(end.unwrap_or(text.len()));
        let mut exponent = 0;
        if let Some((power, behind)) = power(rest) {
            (exponent, rest) = (power, behind);
        }
        if number.starts_with('_') || number.ends_with('_') {
            return None;
        }
        let plain = number.replace('_', "");
        number = &plain;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') {
            return None;
        }
        let part = part.trim_end_matches('0');
        let digits = format!("{whole}{part}").parse().ok()?;
        let exponent = exponent - i32::try_from(part.len()).ok()?;
        Some((Self { digits, exponent }, rest.trim_start()))
    }

    /// A number with a power of 1000 behind it.
    fn scaled(text: &str) -> Option<Self> {
        let (decimal, unit) = Self::read(text)?;
        let (_, power) = SCALES.iter().find(|(name, _)| *name == unit)?;
        Some(Self {
            exponent: decimal.exponent + power,
            ..decimal
        })
    }

    /// A duration in whole nanoseconds; without a unit it is of `unit`.
    fn timed(text: &str, unit: &str) -> Option<u128> {
        let (decimal, typed) = Self::read(text)?;
        let unit = if typed.is_empty() { unit } else { typed };
        decimal.whole(of_unit(&TIMES, unit)?)
    }

    /// So many times `scale`, if that is whole.
    fn whole(self, scale: u128) -> Option<u128> {
        let product = self.digits.checked_mul(scale)?;
        let power = 10_u128.checked_pow(self.exponent.unsigned_abs());
        match (self.exponent >= 0, power) {
            _ if product == 0 => Some(0),
            (true, power) => product.checked_mul(power?),
            (false, power) => {
                let power = power?;
                product.is_multiple_of(power).then(|| product / power)
            }
        }
    }

    fn number(self) -> Option<f64> {
        let number = format!("{}e{}", self.digits, self.exponent).parse().ok();
        number.filter(|number: &f64| number.is_finite())
    }
}

/// `e6` or `E-3` at the beginning, and what stands behind it.
fn power(text: &str) -> Option<(i32, &str)> {
    let behind = text.strip_prefix(['e', 'E'])?;
    let sign = usize::from(behind.starts_with(['+', '-']));
    let digits = behind[sign..]
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(behind.len() - sign);
    let power: i16 = behind[..sign + digits].parse().ok()?;
    Some((power.into(), &behind[sign + digits..]))
}

fn of_unit(units: &[(&str, u128)], unit: &str) -> Option<u128> {
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    Some(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_in_many_ways() {
        let read = count(0, u64::MAX);
        for (text, expected) in [
            ("128", 128),
            ("1_000_000", 1_000_000),
            ("1e6", 1_000_000),
            ("1E+6", 1_000_000),
            ("2.5e3", 2_500),
            ("1.50", 0),
            ("8k", 8_000),
            ("8 k", 8_000),
            ("1.5M", 1_500_000),
            ("3G", 3_000_000_000),
            ("10e-1", 1),
            ("5.0", 5),
            ("0e400", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            let expected = (text != "1.50").then_some(expected);
            assert_eq!(read(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_count_that_is_none_is_told_form_and_range() {
        let read = count(1_u32, 65_536);
        let long = "9".repeat(60);
        for text in [
            "", "0", "65537", "-1", "+1", "x", "1x", "1.5", "1e-1", "_1", "1_", ".5", "1.", "1..2",
            "1.2.3", "e6", "1e", "1e999999", "nan", "inf", "0x10", "1m", "1 2", "１", &long,
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("whole numbers from 1 to 65536") && error.contains("1e6"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn numbers_have_their_nearest_value() {
        let read = number(0.0, f64::MAX);
        for (text, expected) in [
            ("0.99", 0.99),
            ("1e-3", 1e-3),
            ("20_000", 2e4),
            ("1.5M", 1.5e6),
            ("0.1", 0.1),
            ("0", 0.0),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["-1", "nan", "inf", "1e400", "fast", ""] {
            let error = read(text).unwrap_err();
            assert!(error.contains("numbers from 0 up"), "{text}: {error}");
        }
        let error = number(0.0, 1.0)("1.01").unwrap_err();
        assert!(error.contains("numbers from 0 to 1,"), "{error}");
    }

    #[test]
    fn durations_have_units() {
        let hour = Duration::from_secs(3600);
        let read = seconds(Duration::ZERO, hour);
        for (text, millis) in [
            ("10s", 10_000),
            ("1.5", 1_500),
            ("500ms", 500),
            ("2m", 120_000),
            ("1min", 60_000),
            ("0.5h", 1_800_000),
            ("3e3us", 3),
            ("0", 0),
            ("1h", 3_600_000),
        ] {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["-1", "61m", "1d", "s", "", "1.5.2s", "1s2", "0.1ns"] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("0ns to 3600s") && error.contains("500ms"),
                "{text}: {error}"
            );
        }
        let read = super::millis(Duration::ZERO, Duration::from_secs(60));
        assert_eq!(read("0.5"), Ok(Duration::from_micros(500)));
        assert_eq!(read("2s"), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn whole_seconds_are_whole() {
        let read = whole_seconds(1, 86_400);
        for (text, secs) in [
            ("30", 30),
            ("30s", 30),
            ("2m", 120),
            ("1.5m", 90),
            ("1e1", 10),
        ] {
            assert_eq!(read(text), Ok(secs), "{text}");
        }
        for text in ["1.5", "1500ms", "0", "-1", "25h", "x"] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("whole seconds from 1 to 86400"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn sizes_say_which_thousand() {
        let read = bytes(1, 1 << 40);
        for (text, size) in [
            ("1048576", 1 << 20),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("0.5KiB", 512),
            ("1.5GB", 1_500_000_000),
            ("1e9", 1_000_000_000),
            ("7B", 7),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(read(text), Ok(size), "{text}");
        }
        for text in ["64M", "64K", "0", "2TiB", "-1", "0.3B", "MiB", ""] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("1 to 1099511627776 bytes") && error.contains("64MiB"),
                "{text}: {error}"
            );
        }
        let error = bytes(9, u64::MAX)("8").unwrap_err();
        assert!(error.contains("9 bytes and more"), "{error}");
    }
}
