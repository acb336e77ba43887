//! Streams that are silent for so long that they are closed: their memory and their progress records are freed.
//!
//! Input: the silence of the streams of a partition. Output: commits that close them. Invariants: a stream is closed only where all of its records lie below
//! the commit, so that none of them is read again; nothing is read until the commit is acknowledged, so that a record that arrives meanwhile begins a
//! new stream for this reader as it does for the next one.

use std::sync::Arc;

use super::offset_tracker::OffsetTracker;
use super::partition::Partition;
use super::tracked_stream::TrackedStream;
use crate::shard::{ShardMessage, StreamKey};

impl TrackedStream {
    /// Returns whether the stream goes on at a position and has no open segment, and nothing of it is in flight.
    fn is_without_segment(&self) -> bool {
        self.position.is_some()
            && !self.may_have_segment()
            && self.pending_windows.is_empty()
            && !self.is_in_flight()
    }

    /// Returns whether a commit at `offset` closes the stream.
    pub(super) fn closes_at(&self, offset: i64) -> bool {
        self.closing
            && self.is_without_segment()
            && self.records.back().is_none_or(|record| record.offset < offset)
            && self.later_epochs.iter().all(|later| later.begins_at < offset)
    }
}

impl OffsetTracker {
    /// Returns the streams whose segment has ended by idle time and that have had no chunk since.
    pub(super) fn without_segment(&self) -> impl Iterator<Item = &Arc<str>> {
        self.streams.iter().filter(|(_, stream)| stream.is_without_segment()).map(|(stream_id, _)| stream_id)
    }

    /// Lets a commit close a stream, unless a record of it is read before.
    pub(super) fn close(&mut self, stream_id: &str) {
        self.streams.get_mut(stream_id).iter_mut().for_each(|stream| stream.closing = true);
    }

    /// Returns whether a commit at `offset` would close a stream.
    pub(super) fn closes_at(&self, offset: i64) -> bool {
        self.streams.values().any(|stream| stream.closes_at(offset))
    }

    /// Drops a stream that was closed.
    fn forget(&mut self, stream_id: &str) {
        self.streams.remove(stream_id);
    }
}

impl Partition {
    /// Lets the next commit close the streams that were silent for several times the idle timeout, up to the last report of the partition's end.
    pub fn close_silent(&mut self) {
        if !self.is_all_read() {
            return;
        }
        let over = self.tracker.without_segment().filter(|stream_id| self.silence.is_over(stream_id));
        let over: Vec<Arc<str>> = over.cloned().collect();
        over.iter().for_each(|stream_id| self.tracker.close(stream_id));
    }

    /// Returns whether the partition is read, and was read to the end that the brokers have reported.
    pub(super) fn is_all_read(&self) -> bool {
        self.is_readable() && self.outbox.is_empty() && self.silence.is_end_read(self.tracker.next_offset())
    }

    /// Returns whether the next commit may close streams. One that repeats a commit with an unknown outcome closes those that the first one closed.
    pub(super) fn may_close(&self) -> bool {
        self.pending_commit.is_none() || !self.closing.is_empty()
    }

    /// Frees the streams that an acknowledged commit has closed.
    pub(super) fn forget_closed(&mut self) {
        for stream_id in std::mem::take(&mut self.closing) {
            self.tracker.forget(&stream_id);
            self.silence.forget(&stream_id);
            let message = ShardMessage::Forget(StreamKey::Kafka(self.assignment, stream_id.clone()));
            self.outbox.push(stream_id, message);
        }
    }
}
