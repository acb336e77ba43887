//! The messages that a shard receives.
//!
//! Input: chunks of any source and the ends of streams. Output: plain values with the channels and permits that lead back to their source.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::serving::{CallReply, ServedModel};
use crate::stream::{Assignment, BadChunk, Chunk, MemoryReservation, Resume, StreamInfo};
use crate::telemetry::metrics;

/// The key of an open stream within the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StreamKey {
    /// The stream of a session, by the session's number.
    Session(u64),
    /// A stream of an assigned partition, by its id.
    Kafka(Assignment, Arc<str>),
}

/// A chunk with its stream, its model and its source.
#[derive(Debug)]
pub struct ChunkEnvelope {
    /// The stream that the chunk opens if it is not open yet; of an open one only the id counts.
    pub info: Arc<StreamInfo>,
    /// What the chunk itself declares of its stream, to be compared with the open stream; `None` if its session has done so.
    pub declared: Option<Arc<StreamInfo>>,
    /// The audio.
    pub chunk: Chunk,
    /// When the sender captured the audio.
    pub captured_at: Option<crate::proto::Timestamp>,
    /// The source of the chunk.
    pub source: ChunkSource,
    /// The position at which another reader left the stream, on the stream's first chunk here.
    pub resume: Option<Box<Resume>>,
    /// The model of the stream that the chunk opens.
    pub model: Arc<ServedModel>,
    /// The chunk's permit of its model's share of the shards ([`ServedModel::share`]), released once the chunk is handled.
    pub share: Option<OwnedSemaphorePermit>,
    /// The chunk's part of [`ServedModel::ahead`] or, for a record of a backlog, of [`ServedModel::backlog`], which its windows take along; `None` for a
    /// stream at the pace of speech.
    pub ahead: Option<OwnedSemaphorePermit>,
    /// The memory of a chunk of a file; `None` for samples, and where the source has not reserved any.
    pub memory: Option<MemoryReservation>,
}

/// The source of a chunk.
#[derive(Debug)]
pub enum ChunkSource {
    /// A session of an interactive transport.
    Session {
        /// The source as metrics label it.
        source: metrics::Source,
        /// The number of the session.
        number: u64,
        /// Whether the chunk opens the stream. A later chunk whose stream is not open follows a refused one and is dropped.
        first: bool,
        /// Whether the chunk is a further piece of one that was counted.
        continues: bool,
        /// The channel of the session's events.
        replies: mpsc::Sender<CallReply>,
        /// The channel on which the session receives why a chunk was refused.
        refusals: mpsc::Sender<Box<BadChunk>>,
        /// Room for the events that the chunk may complete.
        credits: OwnedSemaphorePermit,
    },
    /// A record of a partition.
    Kafka {
        /// The assignment that the record was read in.
        assignment: Assignment,
        /// The offset of the record.
        offset: i64,
    },
}

impl ChunkSource {
    pub(super) fn key(&self, info: &StreamInfo) -> StreamKey {
        match self {
            Self::Session { number, .. } => StreamKey::Session(*number),
            Self::Kafka { assignment, .. } => StreamKey::Kafka(*assignment, info.stream_id.clone()),
        }
    }
}

/// A message to a shard.
#[derive(Debug)]
pub enum ShardMessage {
    /// Accept a chunk.
    Chunk(Box<ChunkEnvelope>),
    /// End the segment of an idle stream. The stream stays open.
    EndSegment {
        /// The stream.
        key: StreamKey,
        /// Room for the last events of the segment; `None` for Kafka.
        credits: Option<OwnedSemaphorePermit>,
    },
    /// End the stream: analyse its partial windows, then drop its state.
    Close {
        /// The stream.
        key: StreamKey,
        /// Room for the last events of the stream; `None` for Kafka.
        credits: Option<OwnedSemaphorePermit>,
    },
    /// Drop the state of the stream without analysing what is left.
    Forget(StreamKey),
    /// Drop the state of every stream of a partition that was revoked.
    ForgetAssignment(Assignment),
}

impl ShardMessage {
    /// The stream that the message is for; `None` for one that does not wait for the messages before it.
    pub(super) fn key(&self) -> Option<StreamKey> {
        match self {
            Self::Chunk(envelope) => Some(envelope.source.key(&envelope.info)),
            Self::EndSegment { key, .. } | Self::Close { key, .. } | Self::Forget(key) => Some(key.clone()),
            Self::ForgetAssignment(_) => None,
        }
    }
}
