//! The pace at which a recording is sent.
//!
//! Input: a position in the audio. Output: its due time. Invariants: due times are absolute, so that delays do not
//! accumulate.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The pace of a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This multiple of real time; above 0.
    Times(f64),
    /// As fast as the daemon accepts it.
    Max,
}

impl Pace {
    /// The pace of a live source.
    pub const REAL_TIME: Self = Self::Times(1.0);

    /// Returns the due time of audio that ends at `position`, from the start; `None` means immediately.
    pub fn due(self, position: Duration) -> Option<Duration> {
        match self {
            Self::Times(speed) => Some(position.div_f64(speed)),
            Self::Max => None,
        }
    }
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "real-time" => Ok(Self::REAL_TIME),
            "max" => Ok(Self::Max),
            number => match number.parse() {
                Ok(speed) if (0.001..=100_000.0).contains(&speed) => Ok(Self::Times(speed)),
                _ => Err("expected real-time, max, or a number from 0.001 to 100000".to_owned()),
            },
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(speed) if *speed == 1.0 => out.write_str("real-time"),
            Self::Times(speed) => write!(out, "{speed}"),
            Self::Max => out.write_str("max"),
        }
    }
}
