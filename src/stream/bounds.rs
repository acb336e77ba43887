//! Bounds of what a stream declares: its id, names, attributes and times.
//!
//! Input: the declarations of a first chunk, and the capture time of every chunk. Output: nothing, or which field is out of bounds. Pure.
//! Invariant: an event of a stream within the bounds can be written in every format, and its size is bounded.

use super::StreamInfo;
use crate::audio::CHANNELS;
use crate::proto::{AudioChunk, Timestamp};

/// The seconds of a `google.protobuf.Timestamp`: from the start of year 1 to the end of year 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS: std::ops::RangeInclusive<i32> = 0..=999_999_999;

/// The most bytes of the fields that a client chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputBounds {
    /// Of an id or a name: stream, model, channel, clip, speaker, label (`limits.max_id_bytes`).
    pub max_id_bytes: usize,
    /// Of the names and values of a stream's attributes together (`limits.max_attribute_bytes`).
    pub max_attribute_bytes: usize,
}

/// A field that is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// An id or a name is too long.
    #[error("{field}: {bytes} bytes; at most {limit} are allowed (limits.max_id_bytes)")]
    Id {
        /// The name of the field.
        field: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The largest size in bytes.
        limit: usize,
    },
    /// The attributes of a stream are too large.
    #[error(
        "attributes: {bytes} bytes of names and values; at most {limit} are allowed for a stream \
         (limits.max_attribute_bytes)"
    )]
    Attributes {
        /// The bytes of all names and values.
        bytes: usize,
        /// The most bytes.
        limit: usize,
    },
    /// There are more names than a stream may have channels.
    #[error("channel_names: {names} names; at most {} are allowed", CHANNELS.end())]
    ChannelNames {
        /// The number of names.
        names: usize,
    },
    /// A time is outside the range of the protocol.
    #[error(
        "{field}: {seconds} s and {nanos} ns since 1970; allowed is 0001-01-01T00:00:00Z to \
         9999-12-31T23:59:59.999999999Z"
    )]
    Time {
        /// The name of the field.
        field: &'static str,
        /// The seconds of the time.
        seconds: i64,
        /// The nanoseconds of the time.
        nanos: i32,
    },
}

impl OutOfBounds {
    /// Returns the value of the metric label `reason`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Id { .. } | Self::ChannelNames { .. } => "id_too_large",
            Self::Attributes { .. } => "attributes_too_large",
            Self::Time { .. } => "time",
        }
    }
}

impl Default for InputBounds {
    fn default() -> Self {
        Self { max_id_bytes: 256, max_attribute_bytes: 8 * 1024 }
    }
}

impl InputBounds {
    /// Checks what a first chunk declares of its stream.
    ///
    /// # Errors
    /// Returns the first field that is out of bounds.
    pub fn check(&self, info: &StreamInfo) -> Result<(), OutOfBounds> {
        self.check_id("stream_id", &info.stream_id)?;
        self.check_id("model", &info.model)?;
        if info.channel_names.len() > usize::from(*CHANNELS.end()) {
            return Err(OutOfBounds::ChannelNames { names: info.channel_names.len() });
        }
        info.channel_names.iter().try_for_each(|name| self.check_id("channel_names", name))?;
        let bytes = info.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        let limit = self.max_attribute_bytes;
        if bytes > limit { Err(OutOfBounds::Attributes { bytes, limit }) } else { Ok(()) }
    }

    /// Checks the size of an id or a name.
    ///
    /// # Errors
    /// [`OutOfBounds::Id`]
    pub fn check_id(&self, field: &'static str, id: &str) -> Result<(), OutOfBounds> {
        let (bytes, limit) = (id.len(), self.max_id_bytes);
        if bytes > limit { Err(OutOfBounds::Id { field, bytes, limit }) } else { Ok(()) }
    }
}

/// Checks the time at which a chunk was captured.
///
/// # Errors
/// [`OutOfBounds::Time`]
pub fn check_captured_at(time: Option<&Timestamp>) -> Result<(), OutOfBounds> {
    match time {
        Some(time) if !TIMESTAMP_SECONDS.contains(&time.seconds) || !NANOS.contains(&time.nanos) => {
            Err(OutOfBounds::Time { field: "captured_at", seconds: time.seconds, nanos: time.nanos })
        }
        _ => Ok(()),
    }
}

/// Checks the fields that every chunk may set.
///
/// # Errors
/// [`OutOfBounds::Time`]
pub fn check_chunk(message: &AudioChunk) -> Result<(), OutOfBounds> {
    check_captured_at(message.captured_at.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_bound_that_the_error_names() {
        let bounds = InputBounds { max_id_bytes: 8, max_attribute_bytes: 16 };
        let fits = StreamInfo { stream_id: "12345678".into(), ..StreamInfo::default() };
        assert_eq!(bounds.check(&fits), Ok(()));
        let long = || "123456789".to_owned();
        let attribute = |value: String| [("name".to_owned(), value)].into();
        let cases = [
            (StreamInfo { stream_id: long().into(), ..fits.clone() }, "stream_id: 9 bytes"),
            (StreamInfo { model: long(), ..fits.clone() }, "model: 9 bytes"),
            (StreamInfo { channel_names: vec![long()], ..fits.clone() }, "channel_names: 9 bytes"),
            (StreamInfo { channel_names: vec![String::new(); 9], ..fits.clone() }, "channel_names: 9 names"),
            (StreamInfo { attributes: attribute("x".repeat(13)), ..fits.clone() }, "attributes: 17 bytes"),
        ];
        for (info, expected) in cases {
            let error = bounds.check(&info).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error} is not {expected}");
        }
    }

    #[test]
    fn times_are_those_that_json_can_express() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        for time in [at(0, 0), at(-62_135_596_800, 0), at(253_402_300_799, 999_999_999)] {
            assert_eq!(check_captured_at(Some(&time)), Ok(()));
            serde_json::to_value(time).unwrap();
        }
        for time in [at(i64::MIN, 0), at(i64::MAX, 0), at(253_402_300_800, 0), at(0, -1), at(0, i32::MAX)] {
            assert!(check_captured_at(Some(&time)).is_err(), "{time:?}");
        }
    }
}
