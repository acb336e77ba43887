//! Why an input is refused, whatever transport carries it.
//!
//! Input: the causes that the layers below report. Output: a text for the client, a label for the metric, and a class that each transport maps to
//! its own codes (a gRPC status, a WebSocket close code, the reason of a dead letter). Invariant: the text names the field, its value and what is
//! allowed.

use std::time::Duration;

use crate::serving::UnknownModel;
use crate::stream::{BadChunk, OutOfMemory};
use crate::telemetry::excerpt;

/// Why an input is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A chunk cannot be accepted, or declares something else than its stream.
    #[error(transparent)]
    Chunk(#[from] BadChunk),
    /// A request holds no chunk.
    #[error("chunk: missing in the request")]
    ChunkMissing,
    /// A message is larger than the transport reads.
    #[error("audio: {reason}; at most {limit} bytes a chunk are allowed (audio.max_chunk_bytes)")]
    MessageTooLarge {
        /// The transport's own description.
        reason: String,
        /// The largest chunk in bytes.
        limit: usize,
    },
    /// A chunk belongs to another stream.
    #[error("stream_id: {:?} in the call of {:?}; one call carries one stream", excerpt(is), excerpt(open))]
    OtherStream {
        /// The id that the chunk declares.
        is: String,
        /// The id of the session's stream.
        open: String,
    },
    /// The requested model is not in service.
    #[error(transparent)]
    UnknownModel(#[from] UnknownModel),
    /// The stream is open in another session.
    #[error("stream_id {:?} is already open in another call", excerpt(.0))]
    AlreadyOpen(String),
    /// The models could not keep up with one more stream; the field is the limit in percent.
    #[error(
        "one more stream would take over {0} % of the model's time, the most that is allowed \
         (limits.max_utilization_percent)"
    )]
    Busy(usize),
    /// The limit of open streams is reached; the field is the limit.
    #[error("the number of open streams has reached {0}, the most that is allowed (limits.max_streams)")]
    StreamLimit(usize),
    /// The daemon is shutting down.
    #[error("affectd is shutting down: connect again, with first_sample to go on where the events end")]
    Draining,
    /// A call has sent no chunk.
    #[error("chunk: none within {} s of the call (limits.first_chunk_timeout)", .timeout.as_secs_f64())]
    FirstChunk {
        /// How long a call may take until its first chunk.
        timeout: Duration,
    },
    /// A stream is silent.
    #[error(
        "no chunk for {} s (audio.idle_timeout): the stream has ended; open it again, with first_sample to go on",
        .timeout.as_secs_f64()
    )]
    Idle {
        /// How long a stream may be silent.
        timeout: Duration,
    },
    /// A client does not take the events of its stream.
    #[error("no event was read for {} s (audio.idle_timeout): those that waited are dropped", .timeout.as_secs_f64())]
    Unread {
        /// How long a client may take no event.
        timeout: Duration,
    },
    /// The budget of memory has no room for an upload or a decoded file.
    #[error("audio: {0}")]
    Memory(#[from] OutOfMemory),
    /// A file is incomplete, and no further chunk of it has arrived.
    #[error("audio: no chunk for {} s (audio.idle_timeout), and the file is not complete", .timeout.as_secs_f64())]
    FileIdle {
        /// How long a stream may be silent.
        timeout: Duration,
    },
}

/// What a refusal means to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// The input is wrong. The same input will be refused again.
    InvalidInput,
    /// The stream is open elsewhere.
    AlreadyOpen,
    /// A limit is reached. The same input may be accepted later.
    LimitReached,
    /// The client has done nothing for too long.
    TimedOut,
    /// The daemon is shutting down. Another one may accept the input.
    Unavailable,
}

impl Refusal {
    /// Returns the text for a client whose protocol has no positions, so that it cannot go on with `first_sample`.
    #[must_use]
    pub fn text_without_position(&self) -> String {
        match self {
            Self::Draining => "affectd is shutting down: connect again".to_owned(),
            Self::Idle { timeout } => {
                let seconds = timeout.as_secs_f64();
                format!("no chunk for {seconds} s (audio.idle_timeout): the stream has ended; connect again")
            }
            other => other.to_string(),
        }
    }

    /// Returns the class of the refusal.
    #[must_use]
    pub fn class(&self) -> RefusalClass {
        match self {
            Self::Chunk(_)
            | Self::ChunkMissing
            | Self::MessageTooLarge { .. }
            | Self::OtherStream { .. }
            | Self::FileIdle { .. }
            | Self::UnknownModel(_) => RefusalClass::InvalidInput,
            Self::FirstChunk { .. } | Self::Idle { .. } | Self::Unread { .. } => RefusalClass::TimedOut,
            Self::AlreadyOpen(_) => RefusalClass::AlreadyOpen,
            Self::Busy(_) | Self::StreamLimit(_) | Self::Memory(_) => RefusalClass::LimitReached,
            Self::Draining => RefusalClass::Unavailable,
        }
    }

    /// Returns the label of `affectd_rejected_total`; `None` for what is not the client's input: a drain, or a failure of the daemon.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Chunk(bad) => Some(bad.reason()),
            Self::ChunkMissing => Some("chunk_missing"),
            Self::MessageTooLarge { .. } => Some("chunk_too_large"),
            Self::OtherStream { .. } => Some("stream_id"),
            Self::FileIdle { .. } => Some("file_idle"),
            Self::FirstChunk { .. } => Some("first_chunk"),
            Self::Idle { .. } => Some("idle"),
            Self::Unread { .. } => Some("unread"),
            Self::UnknownModel(_) => Some("model"),
            Self::AlreadyOpen(_) => Some("already_open"),
            Self::Busy(_) => Some("busy"),
            Self::Memory(_) => Some("memory"),
            Self::StreamLimit(_) => Some("stream_limit"),
            Self::Draining => None,
        }
    }
}
