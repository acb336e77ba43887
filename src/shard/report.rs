//! Reports of the shards and the sinks to the reader of a partition.
//!
//! Input: the outcome of a chunk, a window or a dead letter. Output: messages to the thread that tracks the partition's offsets.

use std::sync::Arc;

use crate::stream::{Assignment, ChannelState, DeadLetterTicket, EpochPosition, StreamInfo, Ticket};

/// A report to the reader of a partition.
#[derive(Debug)]
pub enum PartitionReport {
    /// A window is on its way to the model. It precedes the [`PartitionReport::ChunkAccepted`] of its chunk.
    WindowSubmitted(Ticket),
    /// A chunk was accepted.
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
        /// The reason, for the dead letter.
        reason: String,
    },
    /// A segment ended by idle time.
    SegmentEnded {
        /// Where the stream is read.
        assignment: Assignment,
        /// The stream.
        stream_id: Arc<str>,
        /// Its position now.
        position: EpochPosition,
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
    /// A sink failed for good: the daemon stops, and what was not settled is read again.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl PartitionReport {
    /// The assignment that the report is about; `None` for a fault, which concerns all of them.
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

/// A chunk that was accepted.
#[derive(Debug)]
pub struct ChunkAccepted {
    /// Where it was read.
    pub assignment: Assignment,
    /// The stream.
    pub stream_id: Arc<str>,
    /// The chunk's offset.
    pub offset: i64,
    /// The stream's position before the chunk; `None` where the chunk opened the stream.
    pub before: Option<EpochPosition>,
    /// Its position after the chunk; `None` where the chunk ended the stream.
    pub after: Option<EpochPosition>,
    /// Epoch of the stream and the sample behind the chunk's last one.
    pub end: (i64, u64),
    /// The stream's info, which its events repeat.
    pub info: Arc<StreamInfo>,
    /// The stream's format.
    pub format: crate::audio::AudioFormat,
}

/// The channel to the reader of the partitions.
#[derive(Debug, Clone)]
pub struct ReportSender {
    /// What happened to the chunks of Kafka streams. The reader receives at all times, so a full channel empties soon.
    pub reports: crossbeam_channel::Sender<PartitionReport>,
}

impl ReportSender {
    /// Sends a report to the reader. A daemon without Kafka has no reader, and the report is dropped.
    pub fn report(&self, report: PartitionReport) {
        let _ = self.reports.send(report);
    }
}
