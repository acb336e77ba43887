//! `google.protobuf.Timestamp` with the JSON form that the proto3 mapping prescribes.
//!
//! Input and output: the message, or RFC 3339 text. Invariants: text that is written ends with `Z`
//! (<https://protobuf.dev/programming-guides/json/>); the type of the crate `pbjson-types` writes `+00:00`, which strict
//! readers refuse.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds after the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// Returns the milliseconds since 1970; the nearest 64-bit number where a message has a time beyond.
    #[must_use]
    pub fn milliseconds(&self) -> i64 {
        self.seconds.saturating_mul(1_000).saturating_add(i64::from(self.nanos) / 1_000_000)
    }
}

impl Serialize for Timestamp {
    /// # Errors
    /// A time that chrono cannot represent.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time =
            u32::try_from(self.nanos).ok().and_then(|nanos| DateTime::from_timestamp(self.seconds, nanos));
        let time = time.ok_or_else(|| serde::ser::Error::custom(format!("{self:?} is out of range")))?;
        serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// # Errors
    /// Text that is not RFC 3339. Every offset from UTC is accepted.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let time = time.with_timezone(&Utc);
        // A leap second has up to 2e9 nanoseconds in chrono; protobuf has no leap seconds.
        let nanos = time.timestamp_subsec_nanos().min(999_999_999);
        Ok(Self { seconds: time.timestamp(), nanos: nanos.cast_signed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_0_3_6_or_9_digits() {
        for (nanos, digits) in [(0, ""), (250_000_000, ".250"), (1_000, ".000001"), (1, ".000000001")] {
            let json = serde_json::to_string(&Timestamp { seconds: 1_700_000_000, nanos }).unwrap();
            assert_eq!(json, format!("\"2023-11-14T22:13:20{digits}Z\""));
        }
    }

    #[test]
    fn other_offsets_are_read_and_an_impossible_time_is_an_error() {
        let expected = Timestamp { seconds: 1_700_000_000, nanos: 500_000_000 };
        for text in ["2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.5+00:00", "2023-11-15T00:13:20.5+02:00"] {
            assert_eq!(serde_json::from_str::<Timestamp>(&format!("{text:?}")).unwrap(), expected);
        }
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
        assert!(serde_json::to_string(&Timestamp { seconds: i64::MAX, nanos: 0 }).is_err());
        assert!(serde_json::to_string(&Timestamp { seconds: 0, nanos: -1 }).is_err());
    }
}
