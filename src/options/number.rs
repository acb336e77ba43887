//! Numbers within a range.
//!
//! Input: JSON numbers. Output: `usize` or `f64`. Invariants: both ends of a range are allowed.

use serde_json::{Value as Json, json};

use super::Form;

/// A whole number from `MIN` to `MAX`.
pub struct Count<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Form for Count<MIN, MAX> {
    type Value = usize;

    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn schema() -> Json {
        json!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }

    fn read(json: &Json) -> Option<usize> {
        let number = usize::try_from(json.as_u64()?).ok()?;
        (MIN..=MAX).contains(&number).then_some(number)
    }

    fn write(value: &usize) -> Json {
        (*value).into()
    }
}

/// A whole number from `MIN` to `MAX`, or `auto`, which is `None`.
pub struct CountOrAuto<const MIN: usize, const MAX: usize>;

const AUTO: &str = "auto";

impl<const MIN: usize, const MAX: usize> Form for CountOrAuto<MIN, MAX> {
    type Value = Option<usize>;

    fn allowed() -> String {
        format!("{AUTO}, or {}", Count::<MIN, MAX>::allowed())
    }

    fn schema() -> Json {
        json!({"anyOf": [Count::<MIN, MAX>::schema(), {"const": AUTO}]})
    }

    fn read(json: &Json) -> Option<Option<usize>> {
        match json.as_str() {
            Some(text) => (text.trim() == AUTO).then_some(None),
            None => Count::<MIN, MAX>::read(json).map(Some),
        }
    }

    fn write(value: &Option<usize>) -> Json {
        value.map_or_else(|| AUTO.into(), Json::from)
    }
}

/// A number from 0 to 1.
pub struct Share;

impl Form for Share {
    type Value = f64;

    fn allowed() -> String {
        "a number from 0 to 1".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "number", "minimum": 0, "maximum": 1})
    }

    fn read(json: &Json) -> Option<f64> {
        json.as_f64().filter(|share| (0.0..=1.0).contains(share))
    }

    fn write(value: &f64) -> Json {
        (*value).into()
    }
}

/// A number.
pub struct Number;

impl Form for Number {
    type Value = f64;

    fn allowed() -> String {
        "a number".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "number"})
    }

    fn read(json: &Json) -> Option<f64> {
        json.as_f64().filter(|number| number.is_finite())
    }

    fn write(value: &f64) -> Json {
        (*value).into()
    }
}
