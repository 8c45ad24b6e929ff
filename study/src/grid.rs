//! Values along axes: `batch-size=64..16384*2`, `tasks=1,8,128`, `theta=0..1.2+0.2`.
//!
//! ```text
//! AXIS=ITEM,ITEM,...        an item is a value or a range
//! FROM..TO*FACTOR           FROM, FROM x FACTOR, ... up to TO
//! FROM..TO+STEP             FROM, FROM + STEP, ... up to TO; +1 may be left out
//! AXIS=TEXT;TEXT;...        values that hold commas or dots themselves, taken as they are
//! ```
//! A share of reads and updates may be written `mix=95/5,50/50`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::axes;

/// Most values of an axis: a longer list is a slip of the pen.
const VALUES_MAX: usize = 100;

/// A value on an axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Whole(u64),
    Number(f64),
    Text(String),
}

/// The values of some axes, by their names.
pub(crate) type Point = BTreeMap<String, Value>;

/// An axis with the values that a study visits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AxisValues {
    pub(crate) name: String,
    pub(crate) values: Vec<Value>,
}

impl Value {
    /// A typed value; a whole number is one however it is written.
    pub(crate) fn parse(text: &str) -> Self {
        match (text.parse(), text.parse::<f64>()) {
            (Ok(whole), _) => Self::Whole(whole),
            (_, Ok(number)) if number.is_finite() => Self::number(number),
            _ => Self::Text(text.to_owned()),
        }
    }

    fn number(number: f64) -> Self {
        let exact = number >= 0.0 && number.fract() == 0.0 && number < 2f64.powi(53);
        match exact {
            true => Self::Whole(number as u64),
            false => Self::Number(number),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl AxisValues {
    /// Reads `AXIS=VALUES`.
    ///
    /// # Errors
    /// A sentence that names what is wrong and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((name, values)) = text.split_once('=') else {
            return Err(format!(
                "{text:?} is not of the form AXIS=VALUES, like tasks=1,8,128"
            ));
        };
        Self::new(name, values)
    }

    /// Reads the values of the axis `name`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn new(name: &str, values: &str) -> Result<Self, String> {
        let values = match values.contains(';') {
            true => values
                .split(';')
                .filter(|text| !text.is_empty())
                .map(Value::parse)
                .collect(),
            false => listed(values).map_err(|error| format!("{name}={values}: {error}"))?,
        };
        Self::of(name, values)
    }

    /// The axis `name` with these values, each once.
    ///
    /// # Errors
    /// When there is no such axis, or no value, or too many.
    pub(crate) fn of(name: &str, values: Vec<Value>) -> Result<Self, String> {
        axes::find(name)?;
        let mut once: Vec<Value> = Vec::new();
        for value in values {
            if !once.contains(&value) {
                once.push(value);
            }
        }
        match once.len() {
            1..=VALUES_MAX => Ok(Self {
                name: name.into(),
                values: once,
            }),
            count => Err(format!(
                "{name} has {count} values; allowed are 1 to {VALUES_MAX}"
            )),
        }
    }
}

/// Every combination of the axes' values; the last axis changes fastest.
pub(crate) fn points(axes: &[AxisValues]) -> Vec<Point> {
    axes.iter().fold(vec![Point::new()], |points, axis| {
        let extended = |point: &Point, value: &Value| {
            let mut point = point.clone();
            point.insert(axis.name.clone(), value.clone());
            point
        };
        let extend = |point: &Point| -> Vec<Point> {
            axis.values
                .iter()
                .map(|value| extended(point, value))
                .collect()
        };
        points.iter().flat_map(extend).collect()
    })
}

fn listed(text: &str) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    for item in text.split(',').map(str::trim) {
        match item.split_once("..") {
            Some((from, rest)) => values.extend(range(from, rest)?),
            None if item.is_empty() => return Err("a value is missing".into()),
            None => values.push(Value::parse(item)),
        }
    }
    Ok(values)
}

fn range(from: &str, rest: &str) -> Result<Vec<Value>, String> {
    let (to, step) = match (rest.split_once('*'), rest.split_once('+')) {
        (Some((to, factor)), _) => (to, Step::Factor(number(factor)?)),
        (_, Some((to, step))) => (to, Step::Width(number(step)?)),
        _ => (rest, Step::Width(1.0)),
    };
    let (from, to) = (number(from)?, number(to)?);
    let grows = match step {
        Step::Factor(factor) => factor > 1.0 && from > 0.0,
        Step::Width(width) => width > 0.0,
    };
    if !grows || to < from {
        return Err("a range must rise: FROM..TO*FACTOR or FROM..TO+STEP".into());
    }
    // Sums of decimal fractions end a little beside the value that is meant.
    let most = to * (1.0 + 1e-9);
    // One more than is allowed, so that a range that is too long is told.
    let values = (0..=VALUES_MAX as i32).map(|i| match step {
        Step::Factor(factor) => from * factor.powi(i),
        Step::Width(width) => from + width * f64::from(i),
    });
    let values = values.take_while(|value| *value <= most);
    Ok(values.map(|value| Value::number(rounded(value))).collect())
}

#[derive(Clone, Copy)]
enum Step {
    Factor(f64),
    Width(f64),
}

/// To nine decimals: 0.1 + 0.2 is 0.3.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

fn number(text: &str) -> Result<f64, String> {
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> String {
        let axis = AxisValues::parse(text).unwrap();
        let values: Vec<String> = axis.values.iter().map(Value::to_string).collect();
        values.join(" ")
    }

    #[test]
    fn lists_powers_and_steps() {
        assert_eq!(values("tasks=1,8,128"), "1 8 128");
        assert_eq!(values("batch-size=64..16384*4"), "64 256 1024 4096 16384");
        assert_eq!(values("theta=0..1.2+0.2"), "0 0.2 0.4 0.6 0.8 1 1.2");
        assert_eq!(values("servers=1..4"), "1 2 3 4");
        assert_eq!(values("tasks=1..4,4..16*2"), "1 2 3 4 8 16");
        assert_eq!(values("engine=partitioned,dashmap"), "partitioned dashmap");
        assert_eq!(values("mix=95/5,50/50"), "95/5 50/50");
        assert_eq!(values("value-bytes=100..1000;128"), "100..1000 128");
        assert_eq!(values("mix=read=0.9,update=0.1;"), "read=0.9,update=0.1");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (text, named) in [
            ("tasks", "AXIS=VALUES"),
            (
                "taks=1",
                "\"taks\" is no axis; allowed are servers, clients",
            ),
            ("tasks=", "a value is missing"),
            ("tasks=1,,2", "a value is missing"),
            ("tasks=8..1", "must rise"),
            ("tasks=1..8*1", "must rise"),
            ("tasks=0..8*2", "must rise"),
            ("tasks=1..8+0", "must rise"),
            ("tasks=a..8", "\"a\" is no number"),
            ("tasks=1..nan", "\"nan\" is no number"),
            (
                "value-bytes=100..1000",
                "has 101 values; allowed are 1 to 100",
            ),
        ] {
            let error = AxisValues::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_value_survives_its_file() {
        for text in ["0", "1.0", "0.99", "18446744073709551615", "95/5", "-1"] {
            let value = Value::parse(text);
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(
                serde_json::from_str::<Value>(&json).unwrap(),
                value,
                "{json}"
            );
        }
    }

    #[test]
    fn points_are_all_combinations() {
        let axes = ["tasks=1,2", "servers=1..3"].map(|text| AxisValues::parse(text).unwrap());
        let points = points(&axes);
        assert_eq!(points.len(), 6);
        assert_eq!(points[1]["tasks"], Value::Whole(1));
        assert_eq!(points[1]["servers"], Value::Whole(2));
    }
}
