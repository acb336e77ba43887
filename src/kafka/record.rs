//! Parses a Kafka record into a chunk: a protobuf `AudioChunk`, or raw audio that is described by headers.
//!
//! Input: key, value and headers. Output: the chunk and what it declares of its stream, or why the record holds no chunk. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message as _;
use prost::bytes::Bytes;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers, Message as _, OwnedHeaders};

use crate::audio::{AudioFormat, BadAudio, ChannelPolicy, channel_names};
use crate::proto::{self, Timestamp};
use crate::stream::Chunk;
use crate::stream::StreamInfo;
use crate::telemetry::excerpt;

/// The header with the media type of the value, as in HTTP.
pub const CONTENT_TYPE: &str = "content-type";
/// The header with the position of a raw chunk's first sample.
pub const FIRST_SAMPLE: &str = "affectd-first-sample";
/// The header with the sequence number of a raw chunk.
pub const SEQUENCE: &str = "affectd-sequence";
/// The header that ends the stream after a raw chunk if it is `true`.
pub const LAST: &str = "affectd-last";

/// The header with the model that a raw stream requests.
pub const MODEL: &str = "affectd-model";

/// The header with the channel policy of a raw stream: split, mix or first.
pub const CHANNELS: &str = "affectd-channels";

/// The header with the names of a raw stream's channels, separated by commas.
pub const CHANNEL_NAMES: &str = "affectd-channel-names";

/// The prefix of the headers with the attributes of a raw stream: `affectd-attribute-NAME`.
pub const ATTRIBUTE: &str = "affectd-attribute-";

/// The headers that describe a raw record, and those that a dead letter adds, which may be written to the input again.
const KNOWN: [&str; 15] = [
    CONTENT_TYPE,
    FIRST_SAMPLE,
    SEQUENCE,
    LAST,
    MODEL,
    CHANNELS,
    CHANNEL_NAMES,
    "affectd-error",
    "affectd-reason",
    "affectd-topic",
    "affectd-partition",
    "affectd-offset",
    "affectd-value-bytes",
    "affectd-value-sha256",
    "affectd-key-sha256",
];

/// The most names of unknown headers that are reported, since names come from producers.
const MOST_REPORTED: usize = 32;

/// A record as it was read. It is kept until its chunk is accepted, because a dead letter repeats it.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a null value.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: OwnedHeaders,
    /// When the record was created or appended, in ms since 1970; `None` where the broker keeps no time.
    pub timestamp: Option<i64>,
}

impl From<&BorrowedMessage<'_>> for RawRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(|value| value.to_vec().into()),
            headers: message.headers().map_or_else(OwnedHeaders::new, BorrowedHeaders::detach),
            timestamp: message.timestamp().to_millis(),
        }
    }
}

/// The content of a record.
#[derive(Debug)]
pub struct AudioRecord {
    /// What the chunk declares of its stream.
    pub info: Arc<StreamInfo>,
    /// The audio.
    pub chunk: Chunk,
    /// When the sender captured the audio.
    pub captured_at: Option<Timestamp>,
}

/// Why a record holds no chunk.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// Neither the key nor the message names a stream.
    #[error("stream_id: neither the record's key nor its message names a stream")]
    NoStream,
    /// The key is not text.
    #[error("key: not UTF-8; it must be the stream's id")]
    Key,
    /// The record has no value.
    #[error("value: missing; it must be an affectd.v1.AudioChunk, or raw audio with the header content-type")]
    Empty,
    /// The value is no protobuf message.
    #[error("value: not an affectd.v1.AudioChunk ({0}); raw audio needs the header content-type")]
    Message(#[from] prost::DecodeError),
    /// The format or the channel policy is unknown or outside the limits.
    #[error(transparent)]
    Format(#[from] BadAudio),
    /// The value of a header is not allowed.
    #[error("header {name}: {:?}; allowed is {allowed}", excerpt(value))]
    Header {
        /// The name of the header.
        name: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
}

impl RawRecord {
    /// Parses the record.
    ///
    /// # Errors
    /// Returns why the record holds no chunk.
    pub fn parse(&self) -> Result<AudioRecord, BadRecord> {
        let key = match &self.key {
            None => "",
            Some(key) => std::str::from_utf8(key).map_err(|_| BadRecord::Key)?,
        };
        match self.header(CONTENT_TYPE).filter(|kind| !is_protobuf(kind)) {
            Some(kind) => self.raw(key, &kind),
            None => match &self.value {
                Some(value) if !value.is_empty() => {
                    message(key, proto::AudioChunk::decode(value.clone())?, self.timestamp)
                }
                Some(_) | None => Err(BadRecord::Empty),
            },
        }
    }

    /// Returns the stream that the key names, for a record that cannot be parsed.
    #[must_use]
    pub fn stream_id(&self) -> Option<Arc<str>> {
        self.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).map(Arc::from)
    }

    fn raw(&self, key: &str, kind: &str) -> Result<AudioRecord, BadRecord> {
        if key.is_empty() {
            return Err(BadRecord::NoStream);
        }
        let chunk = Chunk {
            sequence: self.number(SEQUENCE)?,
            first_sample: self.number(FIRST_SAMPLE)?,
            format: Some(AudioFormat::from_content_type(kind)?),
            audio: self.value.clone().unwrap_or_default(),
            last: self.last()?,
        };
        let info = StreamInfo {
            stream_id: key.into(),
            model: self.header(MODEL).unwrap_or_default(),
            channels: self.channels()?,
            channel_names: self.header(CHANNEL_NAMES).map_or_else(Vec::new, |list| channel_names(&list)),
            attributes: self.attributes(),
            started_at: self.timestamp,
            ..StreamInfo::default()
        };
        self.report_unknown_headers();
        Ok(AudioRecord { info: Arc::new(info), chunk, captured_at: self.timestamp.map(timestamp) })
    }

    /// Returns the attributes: what follows the prefix in the name of each header, with its value.
    fn attributes(&self) -> HashMap<String, String> {
        let attribute = |header: Header<'_, &[u8]>| {
            let prefix = header.key.get(..ATTRIBUTE.len())?;
            let name = &header.key[ATTRIBUTE.len()..];
            let value = String::from_utf8_lossy(header.value.unwrap_or_default());
            (prefix.eq_ignore_ascii_case(ATTRIBUTE) && !name.is_empty())
                .then(|| (name.to_owned(), value.into_owned()))
        };
        self.headers.iter().filter_map(attribute).collect()
    }

    /// Logs each header once whose name is close to that of a known one: it has no effect, and its producer expects one.
    fn report_unknown_headers(&self) {
        static REPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        for header in self.headers.iter() {
            let Some(nearest) = nearest_header(header.key) else { continue };
            let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.len() < MOST_REPORTED && reported.insert(header.key.to_owned()) {
                tracing::warn!(
                    header = %excerpt(header.key),
                    "unknown header of a raw record is ignored; did you mean {nearest}?"
                );
            }
        }
    }

    fn last(&self) -> Result<bool, BadRecord> {
        match self.header(LAST) {
            None => Ok(false),
            Some(value) => {
                let known = value.parse();
                known.map_err(|_| BadRecord::Header { name: LAST, value, allowed: "true or false" })
            }
        }
    }

    fn channels(&self) -> Result<Option<ChannelPolicy>, BadRecord> {
        let Some(value) = self.header(CHANNELS) else { return Ok(None) };
        let policy = ChannelPolicy::from_name(&value);
        let unknown = || BadRecord::Header { name: CHANNELS, value, allowed: "split, mix or first" };
        policy.ok_or_else(unknown).map(Some)
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, BadRecord> {
        let Some(value) = self.header(name) else { return Ok(None) };
        let number =
            value.parse().map_err(|_| BadRecord::Header { name, value, allowed: "a whole number from 0" });
        number.map(Some)
    }

    fn header(&self, name: &str) -> Option<String> {
        let header = self.headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
    }
}

/// Returns the known header that an unknown one is probably meant to be: of all that begin with `affectd`, and of others that differ in few letters.
fn nearest_header(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    if KNOWN.contains(&name.as_str()) || name.strip_prefix(ATTRIBUTE).is_some_and(|rest| !rest.is_empty()) {
        return None;
    }
    let similarity = |known: &&str| strsim::normalized_damerau_levenshtein(&name, known);
    let nearest =
        KNOWN[..7].iter().chain([&ATTRIBUTE]).max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (name.starts_with("affectd") || similarity(nearest) >= 0.8).then_some(nearest)
}

/// Converts milliseconds since 1970.
fn timestamp(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

/// Reads a protobuf message of a record with a timestamp. The stream's id is that of the message, or else the record's key.
fn message(
    key: &str,
    mut message: proto::AudioChunk,
    timestamp: Option<i64>,
) -> Result<AudioRecord, BadRecord> {
    let stream_id = if message.stream_id.is_empty() { key } else { message.stream_id.as_str() };
    if stream_id.is_empty() {
        return Err(BadRecord::NoStream);
    }
    let mut info = StreamInfo::from_message(stream_id.into(), &mut message)?;
    info.started_at = info.started_at.or(timestamp);
    let captured_at = message.captured_at.take();
    Ok(AudioRecord { info: Arc::new(info), captured_at, chunk: Chunk::from_message(message)? })
}

/// Returns whether a media type is `application/protobuf` or one of its older names.
fn is_protobuf(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(
        kind.as_str(),
        "application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: &[(&str, &str)]) -> RawRecord {
        let add = |headers: OwnedHeaders, (key, value): &(&str, &str)| {
            headers.insert(Header { key, value: Some(value.as_bytes()) })
        };
        RawRecord {
            key: Some(b"call".to_vec()),
            value: Some(Bytes::from_static(&[7; 80])),
            headers: headers.iter().fold(OwnedHeaders::new(), add),
            timestamp: Some(1_700_000_000_250),
        }
    }

    #[test]
    fn a_raw_record_has_attributes_and_the_time_of_its_record() {
        let parsed = record(&[
            ("content-type", "audio/basic"),
            ("affectd-attribute-agent", "7"),
            ("Affectd-Attribute-Queue", "grün"),
            ("affectd-attribute-", "nameless"),
        ]);
        let parsed = parsed.parse().unwrap();
        let attributes = [("agent".to_owned(), "7".to_owned()), ("Queue".to_owned(), "grün".to_owned())];
        assert_eq!(parsed.info.attributes, attributes.into());
        let at = Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 };
        assert_eq!(parsed.captured_at, Some(at));
        let timeless = RawRecord { timestamp: None, ..record(&[("content-type", "audio/basic")]) };
        assert_eq!(timeless.parse().unwrap().captured_at, None);
    }

    #[test]
    fn unknown_headers_have_a_known_one_that_they_are_close_to() {
        assert_eq!(nearest_header("affectd-lst"), Some(LAST));
        assert_eq!(nearest_header("Affectd-Sequnce"), Some(SEQUENCE));
        assert_eq!(nearest_header("afectd-last"), Some(LAST));
        assert_eq!(nearest_header("contenttype"), Some(CONTENT_TYPE));
        assert_eq!(nearest_header("affectd-attribute-"), Some(ATTRIBUTE));
        for fine in
            ["affectd-last", "AFFECTD-LAST", "affectd-error", "affectd-attribute-x", "traceparent", ""]
        {
            assert_eq!(nearest_header(fine), None, "{fine}");
        }
    }
}
