//! The state of the alert rules of one channel.
//!
//! Input: nothing. Output: plain values, part of the stream's progress record. The last windows are written as variable-length integers in
//! base64: about 25 bytes a window.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::channel_totals::{Integers, push};
use crate::proto::Alert;

/// A window with an event. Times are milliseconds from the start of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertWindow {
    /// Start of the window.
    pub start: u64,
    /// End of the window.
    pub end: u64,
    /// The id of its event.
    pub event_id: Uuid,
    /// The probability of each emotion in [`AlertState::emotions`], in millionths.
    pub probabilities: Vec<u32>,
}

/// The audio of a channel up to the end of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudioMark {
    /// End of the window, in milliseconds from the start of the stream.
    pub end: u64,
    /// A hash of all audio up to there.
    pub fingerprint: u64,
}

/// A value that has been beyond the threshold of a rule without interruption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Where the evidence of its first value begins.
    pub start: u64,
    /// When its first value was measured.
    pub first: u64,
    /// When its last value was measured.
    pub last: u64,
    /// Number of values.
    pub count: u64,
}

/// The state of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleState {
    /// The run that is not interrupted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The id of the alert that is raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raised: Option<String>,
    /// No alert is raised before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_until: Option<u64>,
}

/// The state of all rules for one channel. The state of the rules that concern several channels is part of the last channel's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertState {
    /// The emotions whose probabilities the windows hold.
    pub emotions: Vec<String>,
    /// The last windows with an event, in order.
    #[serde(serialize_with = "write_windows", deserialize_with = "read_windows")]
    pub windows: Vec<AlertWindow>,
    /// The audio up to each of the last windows, in order, where rules concern several channels; a channel that is silent so far has none.
    #[serde(
        serialize_with = "write_marks",
        deserialize_with = "read_marks",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub audio: Vec<AudioMark>,
    /// The end of the last window.
    pub end: u64,
    /// The ends of windows for which the rules that concern several channels are not evaluated yet, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<u64>,
    /// The state of each rule by the number of its channel and its name, as in `0:angry`.
    pub rules: BTreeMap<String, RuleState>,
    /// The alerts in the order in which they were raised, without the attributes of the stream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

fn write_windows<S: Serializer>(windows: &[AlertWindow], serializer: S) -> Result<S::Ok, S::Error> {
    let (mut bytes, mut before) = (Vec::new(), 0);
    for window in windows {
        push(&mut bytes, window.start.wrapping_sub(before));
        push(&mut bytes, window.end.wrapping_sub(window.start));
        let (high, low) = window.event_id.as_u64_pair();
        push(&mut bytes, high);
        push(&mut bytes, low);
        push(&mut bytes, window.probabilities.len() as u64);
        window.probabilities.iter().for_each(|probability| push(&mut bytes, u64::from(*probability)));
        before = window.start;
    }
    BASE64_STANDARD_NO_PAD.encode(bytes).serialize(serializer)
}

fn write_marks<S: Serializer>(marks: &[AudioMark], serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::new();
    for mark in marks {
        push(&mut bytes, mark.end);
        push(&mut bytes, mark.fingerprint);
    }
    BASE64_STANDARD_NO_PAD.encode(bytes).serialize(serializer)
}

fn read_marks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AudioMark>, D::Error> {
    let mut integers = Integers::of(deserializer)?;
    let mut marks = Vec::new();
    while let Some(end) = integers.next() {
        let fingerprint =
            integers.next().ok_or_else(|| serde::de::Error::custom("a mark that is cut off"))?;
        marks.push(AudioMark { end, fingerprint });
    }
    Ok(marks)
}

fn read_windows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlertWindow>, D::Error> {
    let mut integers = Integers::of(deserializer)?;
    let (mut windows, mut before) = (Vec::new(), 0_u64);
    while let Some(step) = integers.next() {
        let mut one = || {
            let start = before.wrapping_add(step);
            let end = start.wrapping_add(integers.next()?);
            let event_id = Uuid::from_u64_pair(integers.next()?, integers.next()?);
            let count = integers.next()?;
            let probability = |_| u32::try_from(integers.next()?).ok();
            let probabilities = (0..count).map(probability).collect::<Option<Vec<u32>>>()?;
            Some(AlertWindow { start, end, event_id, probabilities })
        };
        let window = one().ok_or_else(|| serde::de::Error::custom("a window that is cut off"))?;
        before = window.start;
        windows.push(window);
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_brings_the_same_windows_back(
            windows in proptest::collection::vec((any::<u32>(), any::<u16>(), any::<u128>(), 0..=1_000_000_u32), 0..20),
        ) {
            let window = |(start, length, id, probability): (u32, u16, u128, u32)| AlertWindow {
                start: u64::from(start),
                end: u64::from(start) + u64::from(length),
                event_id: Uuid::from_u128(id),
                probabilities: vec![probability, 0],
            };
            let mark = |(end, _, id, _): &(u32, u16, u128, u32)| AudioMark { end: u64::from(*end), fingerprint: *id as u64 };
            let audio = windows.iter().map(mark).collect();
            let windows = windows.into_iter().map(window).collect();
            let state = AlertState { windows, audio, ..AlertState::default() };
            let json = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<AlertState>(&json).unwrap(), state);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/]{0,40}") {
            let _ = serde_json::from_value::<AlertState>(serde_json::json!({"windows": text}));
            let _ = serde_json::from_value::<AlertState>(serde_json::json!({"audio": text}));
        }
    }
}
