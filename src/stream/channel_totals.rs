//! What the summary of a call is computed from, for one channel of a stream.
//!
//! Input: nothing. Output: plain values, part of the stream's progress record. Lists that grow with the call are written as variable-length
//! integers in base64: five bytes a window, four a period of speech.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One window of an analysed channel. Times are milliseconds from the start of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedWindow {
    /// Start of the window.
    pub start: u64,
    /// End of the window.
    pub end: u64,
    /// Index of its emotion in [`ChannelTotals::emotions`]; `None` for a silent window.
    pub emotion: Option<u8>,
    /// Its valence from −5 to 5 in ten-thousandths; 0 where the model has no label with a valence.
    pub valence: i32,
}

/// The totals of one channel of a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelTotals {
    /// When the stream began, in milliseconds since 1970.
    pub started_at: i64,
    /// Whether the model analyses the channel.
    pub analysed: bool,
    /// Name and version of the model of the last window.
    pub model: String,
    /// The emotions that windows have had.
    pub emotions: Vec<String>,
    /// Whether a label of the model has a valence.
    pub has_valence: bool,
    /// The windows in order.
    #[serde(serialize_with = "write_windows", deserialize_with = "read_windows")]
    pub windows: Vec<CountedWindow>,
    /// Whether speech was detected at all.
    pub has_speech: bool,
    /// Start and end of each period of speech in milliseconds, as the detector found them.
    #[serde(serialize_with = "write_speech", deserialize_with = "read_speech")]
    pub speech: Vec<(u64, u64)>,
    /// The totals of loudness.
    pub loudness: LoudnessTotals,
    /// A hash of the channel's audio.
    pub fingerprint: u64,
    /// Whether a sample differed from 0.
    pub sounds: bool,
    /// End of the last window, in milliseconds.
    pub end: u64,
}

/// The totals of loudness (ITU-R BS.1770-4, EBU Tech 3341).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoudnessTotals {
    /// Energies of the last 29 periods of 100 ms.
    pub recent: Vec<f32>,
    /// Number of blocks of 400 ms by loudness: the key is in tenths of an LU above −70 LUFS.
    pub blocks: BTreeMap<u16, u64>,
    /// The highest mean energy over 3 s.
    pub short_term: f32,
}

/// Appends an integer in as few bytes as it needs.
pub(super) fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn push_signed(bytes: &mut Vec<u8>, value: i64) {
    push(bytes, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads the integers that [`push`] has written.
pub(super) struct Integers(std::vec::IntoIter<u8>);

impl Integers {
    pub fn of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BASE64_STANDARD_NO_PAD.decode(String::deserialize(deserializer)?);
        Ok(Self(bytes.map_err(serde::de::Error::custom)?.into_iter()))
    }

    pub fn next(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.0.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift += 7;
        }
    }

    fn next_signed(&mut self) -> Option<i64> {
        self.next().map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

fn write_windows<S: Serializer>(windows: &[CountedWindow], serializer: S) -> Result<S::Ok, S::Error> {
    let (mut bytes, mut start, mut step, mut length) = (Vec::new(), 0, 0, 0);
    for window in windows {
        // Windows usually follow each other at one hop, and each is as long as the one before.
        push_signed(&mut bytes, (window.start as i64).wrapping_sub(start).wrapping_sub(step));
        push_signed(&mut bytes, (window.end as i64).wrapping_sub(window.start as i64).wrapping_sub(length));
        push(&mut bytes, window.emotion.map_or(0, |emotion| u64::from(emotion) + 1));
        push_signed(&mut bytes, i64::from(window.valence));
        step = (window.start as i64).wrapping_sub(start);
        (start, length) = (window.start as i64, (window.end as i64).wrapping_sub(window.start as i64));
    }
    BASE64_STANDARD_NO_PAD.encode(bytes).serialize(serializer)
}

fn read_windows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CountedWindow>, D::Error> {
    let mut integers = Integers::of(deserializer)?;
    let (mut windows, mut start, mut step, mut length) = (Vec::new(), 0_i64, 0_i64, 0_i64);
    while let Some(change) = integers.next_signed() {
        let mut one = || {
            step = step.wrapping_add(change);
            start = start.wrapping_add(step);
            length = length.wrapping_add(integers.next_signed()?);
            let emotion = integers.next()?.checked_sub(1).map(u8::try_from).transpose().ok()?;
            let valence = i32::try_from(integers.next_signed()?).ok()?;
            Some(CountedWindow {
                start: start as u64,
                end: start.wrapping_add(length) as u64,
                emotion,
                valence,
            })
        };
        windows.push(one().ok_or_else(|| serde::de::Error::custom("a window that is cut off"))?);
    }
    Ok(windows)
}

fn write_speech<S: Serializer>(speech: &[(u64, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let (mut bytes, mut before) = (Vec::new(), 0);
    for (start, end) in speech {
        push(&mut bytes, start.wrapping_sub(before));
        push(&mut bytes, end.wrapping_sub(*start));
        before = *end;
    }
    BASE64_STANDARD_NO_PAD.encode(bytes).serialize(serializer)
}

fn read_speech<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(u64, u64)>, D::Error> {
    let mut integers = Integers::of(deserializer)?;
    let (mut speech, mut before) = (Vec::new(), 0_u64);
    while let Some(gap) = integers.next() {
        let cut_off = || serde::de::Error::custom("a period of speech that is cut off");
        let length = integers.next().ok_or_else(cut_off)?;
        let start = before.wrapping_add(gap);
        before = start.wrapping_add(length);
        speech.push((start, before));
    }
    Ok(speech)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows() -> impl Strategy<Value = Vec<CountedWindow>> {
        let window = (any::<u32>(), any::<u16>(), proptest::option::of(0..9_u8), -50_000..50_000_i32);
        let window = window.prop_map(|(start, length, emotion, valence)| {
            let (start, end) = (u64::from(start), u64::from(start) + u64::from(length));
            CountedWindow { start, end, emotion, valence }
        });
        proptest::collection::vec(window, 0..20)
    }

    proptest! {
        #[test]
        fn json_brings_the_same_totals_back(
            windows in windows(),
            speech in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..20),
        ) {
            let mut at = 0;
            let speech = speech.into_iter().map(|(gap, length)| {
                let start = at + u64::from(gap);
                at = start + u64::from(length);
                (start, at)
            });
            let totals = ChannelTotals { windows, speech: speech.collect(), ..ChannelTotals::default() };
            let json = serde_json::to_string(&totals).unwrap();
            prop_assert_eq!(serde_json::from_str::<ChannelTotals>(&json).unwrap(), totals);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/]{0,40}") {
            let json = serde_json::json!({"windows": text, "speech": text});
            let _ = serde_json::from_value::<ChannelTotals>(json);
        }
    }

    #[test]
    fn an_hour_of_windows_takes_five_bytes_each() {
        let window = |at: u64| CountedWindow {
            start: at * 1_000,
            end: at * 1_000 + 3_000,
            emotion: Some((at % 6) as u8),
            valence: (at as i32 * 37) % 8_000,
        };
        let totals = ChannelTotals { windows: (0..3_600).map(window).collect(), ..ChannelTotals::default() };
        assert!(serde_json::to_string(&totals).unwrap().len() < 3_600 * 5 * 4 / 3 + 500);
    }
}
