//! Names of what is under way between a partition and its sinks: assignments, windows, records that became dead letters.
//!
//! Input: where a record was read. Output: plain values that settle offsets once they come back acknowledged. Pure.

use std::sync::Arc;

use super::StreamPosition;

/// Epoch of a stream that another reader opened.
pub const RESUMED: i64 = -1;

/// One assignment of a partition to this daemon. A partition that comes back is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assignment {
    /// The partition.
    pub partition: i32,
    /// Counts assignments.
    pub epoch: u64,
}

/// One window of a Kafka stream, until its event is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Where the stream is read.
    pub assignment: Assignment,
    /// The stream.
    pub stream_id: Arc<str>,
    /// Which life of the stream: the offset of the chunk that opened it, -1 for one resumed.
    pub epoch: i64,
    /// Channel of the stream.
    pub channel: u32,
    /// Index of the window.
    pub index: u64,
    /// First source sample that the window needs.
    pub needed_from: u64,
}

/// A record that became a dead letter, until that is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTicket {
    /// Where the record was read.
    pub assignment: Assignment,
    /// Its offset.
    pub offset: i64,
    /// The stream that it was read for, if any.
    pub stream_id: Option<Arc<str>>,
}

/// Where a Kafka stream stands between two chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPosition {
    /// As in [`Ticket`].
    pub epoch: i64,
    /// Position, sequence and windows.
    pub place: StreamPosition,
}
