//! From a Kafka record to a chunk: a protobuf `AudioChunk`, or raw bytes whose headers say what they are.
//!
//! In: key, value, headers. Out: a chunk with its stream, or why it is none. Never touches a broker.

use std::sync::Arc;

use prost::Message as _;
use prost::bytes::Bytes;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers, Message as _, OwnedHeaders};

use crate::audio::{AudioFormat, BadAudio, ChannelPolicy, channel_names};
use crate::proto;
use crate::stream::Chunk;
use crate::stream::StreamInfo;

/// Says what raw bytes are, as in HTTP.
pub const CONTENT_TYPE: &str = "content-type";
/// Position of a raw chunk's first sample.
pub const FIRST_SAMPLE: &str = "affectd-first-sample";
/// Sequence of a raw chunk.
pub const SEQUENCE: &str = "affectd-sequence";
/// `true` ends the stream after a raw chunk.
pub const LAST: &str = "affectd-last";

/// The model that a raw stream asks for.
pub const MODEL: &str = "affectd-model";

/// What is done with the channels of a raw stream: split, mix or first.
pub const CHANNELS: &str = "affectd-channels";

/// Names of a raw stream's channels, with commas between.
pub const CHANNEL_NAMES: &str = "affectd-channel-names";

/// A record as it was read, to be kept until it is known to be good.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Bytes,
    /// Its headers.
    pub headers: OwnedHeaders,
}

impl From<&BorrowedMessage<'_>> for RawRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec().into(),
            headers: message.headers().map_or_else(OwnedHeaders::new, BorrowedHeaders::detach),
        }
    }
}

/// What a record holds.
#[derive(Debug)]
pub struct AudioRecord {
    /// The stream, and what its events repeat.
    pub info: Arc<StreamInfo>,
    /// The audio.
    pub chunk: Chunk,
    /// When the sender captured it.
    pub captured_at: Option<pbjson_types::Timestamp>,
}

/// Why a record is no chunk. The sender's to mend.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// Neither key nor message names a stream.
    #[error("stream_id: neither the record's key nor its message names a stream")]
    NoStream,
    /// The key is not text.
    #[error("key: not UTF-8; it must be the stream's id")]
    Key,
    /// No value.
    #[error("value: missing; it must be an affectd.v1.AudioChunk, or raw audio with the header content-type")]
    Empty,
    /// The value is no protobuf message.
    #[error("value: not an affectd.v1.AudioChunk ({0}); raw audio needs the header content-type")]
    Message(#[from] prost::DecodeError),
    /// The format is out of the limits.
    #[error(transparent)]
    Format(#[from] BadAudio),
    /// A header's value cannot be read.
    #[error("header {name}: {value:?}; allowed is {allowed}")]
    Header {
        /// The header.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl RawRecord {
    /// Reads the record.
    ///
    /// # Errors
    /// See [`BadRecord`].
    pub fn parse(&self) -> Result<AudioRecord, BadRecord> {
        let key = match &self.key {
            None => "",
            Some(key) => std::str::from_utf8(key).map_err(|_| BadRecord::Key)?,
        };
        match self.header(CONTENT_TYPE).filter(|kind| !is_protobuf(kind)) {
            Some(kind) => self.raw(key, &kind),
            None if self.value.is_empty() => Err(BadRecord::Empty),
            None => message(key, proto::AudioChunk::decode(self.value.clone())?),
        }
    }

    /// The stream that the key names, for records that cannot be read.
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
            audio: self.value.clone(),
            last: self.last()?,
        };
        let info = StreamInfo {
            stream_id: key.into(),
            model: self.header(MODEL).unwrap_or_default(),
            channels: self.channels()?,
            channel_names: self.header(CHANNEL_NAMES).map_or_else(Vec::new, |list| channel_names(&list)),
            ..StreamInfo::default()
        };
        Ok(AudioRecord { info: Arc::new(info), chunk, captured_at: None })
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

fn message(key: &str, chunk: proto::AudioChunk) -> Result<AudioRecord, BadRecord> {
    let stream_id: Arc<str> =
        if chunk.stream_id.is_empty() { key.into() } else { chunk.stream_id.as_str().into() };
    if stream_id.is_empty() {
        return Err(BadRecord::NoStream);
    }
    let format = chunk.format.as_ref().map(AudioFormat::try_from).transpose()?;
    let info = StreamInfo {
        stream_id,
        attributes: chunk.attributes,
        model: chunk.model,
        channels: ChannelPolicy::from_proto(chunk.channels)?,
        channel_names: chunk.channel_names,
        channel_states: Default::default(),
    };
    Ok(AudioRecord {
        info: Arc::new(info),
        captured_at: chunk.captured_at,
        chunk: Chunk {
            sequence: chunk.sequence,
            first_sample: chunk.first_sample,
            format,
            audio: chunk.audio,
            last: chunk.last,
        },
    })
}

/// `application/protobuf` and its older spellings.
fn is_protobuf(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(
        kind.as_str(),
        "application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf"
    )
}
