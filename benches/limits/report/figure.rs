//! Figures: units, targets and formatting of a number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Ratio of two numbers.
    Ratio,
    /// A count.
    Count,
    /// A number with two decimals.
    Fine,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// Target of a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// At least `must`, preferably `aim`.
    AtLeast { must: f64, aim: f64 },
    /// At most `must`, preferably `aim`.
    AtMost { must: f64, aim: f64 },
    /// No target.
    None,
}

/// Comparison of a number with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Reaches the aim.
    Aim,
    /// Reaches `must`.
    Must,
    /// Misses `must`.
    Missed,
    /// No target.
    None,
}

/// A number with its unit, formatted for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written(pub(crate) f64, pub(crate) Unit);

impl Target {
    /// Compares `value` with the target.
    pub(crate) fn mark(self, value: f64) -> Mark {
        let (reaches_aim, reaches_must) = match self {
            Self::AtLeast { must, aim } => (value >= aim, value >= must),
            Self::AtMost { must, aim } => (value <= aim, value <= must),
            Self::None => return Mark::None,
        };
        match (reaches_aim, reaches_must) {
            (true, _) => Mark::Aim,
            (false, true) => Mark::Must,
            (false, false) => Mark::Missed,
        }
    }

    /// Returns `must` and `aim`.
    pub(crate) fn limits(self) -> Option<(f64, f64)> {
        match self {
            Self::AtLeast { must, aim } | Self::AtMost { must, aim } => Some((must, aim)),
            Self::None => None,
        }
    }
}

impl Mark {
    /// Returns the word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::Must => "must",
            Self::Missed => "missed",
            Self::None => "",
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, unit) = *self;
        match unit {
            _ if !value.is_finite() => f.pad("–"),
            Unit::Ratio | Unit::Fine => f.pad(&format!("{value:.2}")),
            Unit::Count => f.pad(&grouped(value)),
            Unit::Bytes if value.abs() >= 10_240_000.0 => f.pad(&format!("{:.1} MiB", value / 1_048_576.0)),
            Unit::Bytes if value.abs() >= 10_240.0 => f.pad(&format!("{:.1} kB", value / 1e3)),
            Unit::Bytes => f.pad(&format!("{} B", grouped(value))),
            Unit::Seconds if value.abs() < 1.0 => f.pad(&format!("{:.0} ms", value * 1e3)),
            Unit::Seconds => f.pad(&format!("{value:.1} s")),
        }
    }
}

/// Formats a whole number with a comma between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}
