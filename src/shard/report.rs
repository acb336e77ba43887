//! What the shards and the sinks report to the reader of a partition.
//!
//! Input: what became of a chunk, a window or a dead letter. Output: messages to the one thread that tracks the partition's offsets.

use std::sync::Arc;

use crate::stream::{Assignment, ChannelState, DeadLetterTicket, EpochPosition, StreamInfo, Ticket};

/// What the shards and the publisher tell the reader of a partition.
#[derive(Debug)]
pub enum Report {
    /// A window was cut; its answer follows later. Always before the [`Report::ChunkAccepted`] of its chunk.
    WindowSubmitted(Ticket),
    /// A chunk was taken in.
    ChunkAccepted(Box<ChunkAccepted>),
    /// A chunk was refused; it becomes a dead letter.
    Refused {
        /// Where it was read.
        assignment: Assignment,
        /// Its offset.
        offset: i64,
        /// The stream.
        stream_id: Arc<str>,
        /// The metric's label.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// A stretch ended by idle time.
    SegmentEnded {
        /// Where the stream is read.
        assignment: Assignment,
        /// The stream.
        stream_id: Arc<str>,
        /// Where it stands now.
        standing: EpochPosition,
    },
    /// A window's event is acknowledged.
    Delivered {
        /// The window.
        ticket: Ticket,
        /// The state that the stages behind the model had for the channel after this window.
        state: ChannelState,
    },
    /// A dead letter is acknowledged.
    DeadLetterDelivered(DeadLetterTicket),
    /// Something of ours failed for good: the daemon stops, and what was not settled is read again.
    Failed(String),
}

impl Report {
    /// The assignment that it is about; `None` for a fault that is about all of them.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment> {
        match self {
            Self::WindowSubmitted(ticket) | Self::Delivered { ticket, .. } => Some(ticket.assignment),
            Self::ChunkAccepted(taken) => Some(taken.assignment),
            Self::Refused { assignment, .. } | Self::SegmentEnded { assignment, .. } => Some(*assignment),
            Self::DeadLetterDelivered(ticket) => Some(ticket.assignment),
            Self::Failed(_) => None,
        }
    }
}

/// A chunk that was taken in.
#[derive(Debug)]
pub struct ChunkAccepted {
    /// Where it was read.
    pub assignment: Assignment,
    /// The stream.
    pub stream_id: Arc<str>,
    /// The chunk's offset.
    pub offset: i64,
    /// Where the stream stood; `None` where the chunk opened it.
    pub before: Option<EpochPosition>,
    /// Where it stands now; `None` where the chunk ended it.
    pub after: Option<EpochPosition>,
    /// Life of the stream and sample behind the chunk's last one.
    pub end: (i64, u64),
    /// What the stream's events repeat.
    pub info: Arc<StreamInfo>,
    /// The stream's format.
    pub format: crate::audio::AudioFormat,
}
