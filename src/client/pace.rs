//! How fast a recording is sent: by absolute deadlines, so that delays never add up.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Speed of a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many times as fast as the audio was spoken; above 0.
    Times(f64),
    /// As fast as the other side takes it.
    Max,
}

impl Pace {
    /// The pace of a live source.
    pub const REAL_TIME: Self = Self::Times(1.0);

    /// When audio that ends at `position` is due, from the start; `None` means at once.
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
