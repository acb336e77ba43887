//! Identifiers of what is in flight between a partition and the sinks: assignments, windows, and records that became dead letters.
//!
//! Input: the partition and the offset of a record. Output: plain values; the acknowledgement of a sink returns them, and they then settle
//! offsets. Pure.

use std::sync::Arc;

use super::StreamPosition;

/// The epoch of a stream that another reader opened.
pub const RESUMED: i64 = -1;

/// The channel of a ticket that belongs to the end of a stream: it settles once the summary of the stream's call is delivered.
pub const SUMMARY_CHANNEL: u32 = u32::MAX;

/// One assignment of a partition to this daemon. A partition that is assigned again has a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assignment {
    /// The number of the partition.
    pub partition: i32,
    /// Counts the assignments of all partitions.
    pub number: u64,
}

/// A window of a Kafka stream whose event is not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The assignment that the stream is read in.
    pub assignment: Assignment,
    /// The id of the stream.
    pub stream_id: Arc<str>,
    /// The epoch of the stream: the offset of the chunk that opened it, or [`RESUMED`].
    pub epoch: i64,
    /// The channel of the window.
    pub channel: u32,
    /// The index of the window.
    pub index: u64,
    /// The first source sample that the window needs.
    pub needed_from: u64,
}

/// A record whose dead letter is not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTicket {
    /// The assignment that the record was read in.
    pub assignment: Assignment,
    /// The offset of the record.
    pub offset: i64,
    /// The stream that the record belongs to, if it reached one.
    pub stream_id: Option<Arc<str>>,
}

/// The position of a Kafka stream between two chunks, with the stream's epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPosition {
    /// As in [`Ticket`].
    pub epoch: i64,
    /// Position, sequence and windows.
    pub position: StreamPosition,
}
