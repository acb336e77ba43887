//! Events and dead letters that wait for the next transaction.
//!
//! Input: events from the sink, dead letters of the reader. Output: the records of a commit, in order. Invariants: bounded: where it is full, the sink
//! waits and the reader takes no record; an event of an assignment that is over is dropped, because the partition's next reader publishes it.

use crossbeam_channel::{Receiver, Sender};

use super::commit::TransactionRecord;
use super::producer::{ForTransaction, Outgoing};
use crate::shard::PartitionReport;
use crate::stream::Assignment;

/// Events that may wait between the sink and the reader.
const ROOM: usize = 1_024;

/// Returns the channel from the sink of partitions to the reader.
#[must_use]
pub fn event_channel() -> (Sender<ForTransaction>, Receiver<ForTransaction>) {
    crossbeam_channel::bounded(ROOM)
}

/// The records of the next transaction.
pub(super) struct TransactionBuffer {
    events: Receiver<ForTransaction>,
    records: Vec<TransactionRecord>,
    limit: usize,
}

impl TransactionBuffer {
    pub fn new(events: Receiver<ForTransaction>, limit: usize) -> Self {
        Self { events, records: Vec::new(), limit }
    }

    /// Returns whether the transaction is to be committed, whatever the time.
    pub fn is_full(&self) -> bool {
        self.records.len() >= self.limit
    }

    /// Returns the next messages, with the reports of what they settle; `None` where there are none, or no room. A window without an event has no message, and one
    /// with alerts several.
    pub fn next_messages(&mut self) -> Option<(Vec<Outgoing>, Vec<PartitionReport>)> {
        if self.is_full() {
            return None;
        }
        let ForTransaction { messages, settlement } = self.events.try_recv().ok()?;
        Some((messages, settlement.reports()))
    }

    /// Adds a record of an assignment.
    pub fn push(&mut self, assignment: Assignment, message: Outgoing) {
        self.records.push(TransactionRecord { assignment, message });
    }

    /// Drops the records of an assignment that is over.
    pub fn forget(&mut self, assignment: Assignment) {
        self.records.retain(|record| record.assignment != assignment);
    }

    /// Returns all records; the next transaction begins.
    pub fn take(&mut self) -> Vec<TransactionRecord> {
        std::mem::take(&mut self.records)
    }
}
