//! Lengths of time with their unit, such as `30s` or `1m 30s`.
//!
//! Input: text. Output: [`Duration`]. Invariants: a number without a unit is refused, except a plain `0`.

use std::time::Duration;

use humantime_serde::re::humantime;
use serde_json::{Value as Json, json};

use super::Form;
use super::text::text;

/// Numbers with units. The names of the units are left to the parser, which knows several for each.
const PATTERN: &str = r"^(0|([0-9]+(\.[0-9]+)? *[a-zA-Zµ]+ *)+)$";

/// A length of time, zero included.
pub struct AnyDuration;

impl Form for AnyDuration {
    type Value = Duration;

    fn allowed() -> String {
        "a duration with its unit, such as \"30s\" or \"0s\"".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": PATTERN})
    }

    fn read(json: &Json) -> Option<Duration> {
        humantime::parse_duration(text(json)?).ok()
    }

    fn write(value: &Duration) -> Json {
        humantime::format_duration(*value).to_string().into()
    }
}

/// A length of time above zero.
pub struct PositiveDuration;

impl Form for PositiveDuration {
    type Value = Duration;

    fn allowed() -> String {
        "a duration above 0 with its unit, such as \"30s\"".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": PATTERN, "not": {"pattern": "^[^1-9]*$"}})
    }

    fn read(json: &Json) -> Option<Duration> {
        AnyDuration::read(json).filter(|duration| !duration.is_zero())
    }

    fn write(value: &Duration) -> Json {
        AnyDuration::write(value)
    }
}
