//! The offsets of one partition: which are settled, and the position of each stream at any of them.
//!
//! Input: records as they are read, and what the shards and the producer report of them. Output: the lowest unsettled offset, and the progress that
//! belongs to a commit there. Invariants: an offset is settled only when no window, submitted or still to come, needs its chunk; dropping state settles
//! nothing. Pure: no broker, no clock.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::idle_ends::IdleEnds;
use super::partition_clock::{PartitionClock, ReadAt};
use super::progress::{LaterEpoch, Progress, ProgressEntry};
use super::stream_state::StreamState;
use super::tracked_stream::{RecordState, TrackedRecord, TrackedStream};
use crate::audio::AudioFormat;
use crate::shard::ChunkAccepted;
use crate::stream::Resume;
use crate::stream::{ChannelState, EpochPosition, StreamInfo, Ticket};
use crate::window::WindowSpan;

/// The offsets of one partition while it is assigned.
#[derive(Debug)]
pub struct OffsetTracker {
    pub(super) streams: HashMap<Arc<str>, TrackedStream>,
    /// Streams of files that several records hold.
    pub(super) files: HashSet<Arc<str>>,
    pub(super) unsettled: BTreeSet<i64>,
    /// Records that may be read again, each with the partition's clock before it.
    pub(super) clock_before: VecDeque<(i64, i64)>,
    /// Where reading began.
    start: i64,
    /// Behind the last record read.
    pub(super) next_offset: i64,
    /// The offset that the group has committed; `None` before its first commit.
    pub(super) committed: Option<i64>,
    clock: PartitionClock,
}

/// How it is decided whether a silent stream is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// The partition's clock has passed the stream's last record by the timeout.
    ByPartitionTime,
    /// The partition's records do not show it; only the clock can.
    PerhapsByWallTime,
}

impl OffsetTracker {
    /// Begins at `start`, which is the group's committed offset where it has one, with the streams that another reader left open there. A stream is idle
    /// after `idle_timeout`.
    #[must_use]
    pub fn open(
        start: i64,
        committed: Option<i64>,
        left_open: &HashMap<Arc<str>, ProgressEntry>,
        idle_timeout: Duration,
    ) -> Self {
        // Only differences count, so the clock begins where the longest silence is above 0.
        let clock = left_open.values().map(ProgressEntry::silence_ms).max().unwrap_or(0);
        let resumed = |(stream_id, entry): (&Arc<str>, &ProgressEntry)| {
            let state = entry.state.as_ref();
            let mut windows = state.map(StreamState::acknowledged_windows).unwrap_or_default();
            windows.extend(entry.later_epochs.iter().flat_map(LaterEpoch::acknowledged_windows));
            let stream = TrackedStream {
                position: state.map(StreamState::position),
                begun_with: state.map(|state| (state.info(stream_id), state.format)),
                last_read: ReadAt { timestamp: entry.last_timestamp, clock: clock - entry.silence_ms() },
                idle_ends: IdleEnds::of_entry(entry),
                acknowledged_windows: windows,
                later_epochs: entry.later_epochs.clone(),
                // It may have been written for an earlier offset; it fits this one.
                acknowledged: Some(ProgressEntry { offset: committed, ..entry.clone() }),
                has_progress_record: true,
                record_in_doubt: true,
                ..TrackedStream::default()
            };
            (stream_id.clone(), stream)
        };
        Self {
            streams: left_open.iter().map(resumed).collect(),
            files: HashSet::new(),
            unsettled: BTreeSet::new(),
            clock_before: VecDeque::new(),
            start,
            next_offset: start,
            committed,
            clock: PartitionClock::new(clock, idle_timeout),
        }
    }

    /// Notes a record that is on its way to its shard or, without a stream, one that becomes a dead letter. Offsets must rise.
    pub fn record_read(&mut self, offset: i64, stream: Option<(&Arc<str>, WindowSpan)>, timestamp: i64) {
        self.clock_before.push_back((offset, self.clock.now()));
        if let Some((stream_id, span)) = stream {
            let stream = self.streams.entry(stream_id.clone()).or_default();
            let last_read_before = stream.last_read;
            stream.closing = false;
            stream.idle_ends.record_read(offset);
            stream.last_read = self.clock.read(last_read_before, timestamp);
            let state = RecordState::AtShard;
            stream.records.push_back(TrackedRecord { offset, last_read_before, span, state });
        }
        self.unsettled.insert(offset);
        self.next_offset = offset + 1;
    }

    /// Notes that a shard accepted a chunk.
    pub fn chunk_accepted(&mut self, accepted: ChunkAccepted) {
        let Some(stream) = self.streams.get_mut(&accepted.stream_id) else { return };
        stream.begun_with = Some((accepted.info, accepted.format));
        if accepted.after.as_ref().is_some_and(|after| after.position.is_in_file()) {
            self.files.insert(accepted.stream_id.clone());
        }
        stream.position = accepted.after;
        if let Some(record) = stream.records.iter_mut().find(|record| record.offset == accepted.offset) {
            record.state = RecordState::Accepted { before: accepted.before, end: accepted.end };
        }
        stream.settle(&mut self.unsettled);
    }

    /// Notes that a shard refused a chunk.
    pub fn chunk_refused(&mut self, stream_id: &str, offset: i64) {
        self.set_state(stream_id, offset, RecordState::Refused);
    }

    /// Notes that a dead letter is acknowledged.
    pub fn dead_letter_delivered(&mut self, stream_id: Option<&str>, offset: i64) {
        self.unsettled.remove(&offset);
        if let Some(stream_id) = stream_id {
            self.set_state(stream_id, offset, RecordState::Settled { before: None });
        }
    }

    fn set_state(&mut self, stream_id: &str, offset: i64, state: RecordState) {
        let Some(stream) = self.streams.get_mut(stream_id) else { return };
        if let Some(record) = stream.records.iter_mut().find(|record| record.offset == offset) {
            record.state = state;
        }
    }

    /// Notes that a window is on its way to the model.
    pub fn window_submitted(&mut self, ticket: Ticket) {
        if let Some(stream) = self.streams.get_mut(&ticket.stream_id) {
            stream.pending_windows.push(ticket);
        }
    }

    /// Notes that a window's event is acknowledged; `state` is the state that the stages behind the model had for its channel after it.
    pub fn window_delivered(&mut self, ticket: &Ticket, state: ChannelState) {
        let Some(stream) = self.streams.get_mut(&ticket.stream_id) else { return };
        stream.acknowledge(ticket, state);
        stream.settle(&mut self.unsettled);
    }

    /// Notes that a segment ended by idle time.
    pub fn segment_ended(&mut self, stream_id: &str, position: EpochPosition) {
        if let Some(stream) = self.streams.get_mut(stream_id) {
            stream.position = Some(position);
            stream.settle(&mut self.unsettled);
        }
    }

    /// Notes that a stream ends by wall time at its position, and returns the progress that must be written before it does. `None` while a chunk of the
    /// stream is at its shard, since the position is not known then.
    ///
    /// A replay cannot repeat an end by wall-clock time, so it repeats the record of that end. The record has one entry, that of the last acknowledged commit:
    /// no commit is under way (see [`super::Committer`]), so no other offset is possible.
    pub fn end_by_wall_time(&mut self, stream_id: &str) -> Option<Progress> {
        let stream = self.streams.get_mut(stream_id).filter(|stream| !stream.awaits_shard())?;
        stream.has_progress_record = true;
        let EpochPosition { epoch, position } = stream.position.as_ref()?;
        stream.idle_ends.push(*epoch, position.position);
        let kept = stream.acknowledged.clone().unwrap_or_else(|| ProgressEntry::not_begun(self.committed));
        let epoch = match &kept.state {
            Some(_) => stream.idle_ends.open_at(self.committed.unwrap_or(self.start)),
            None => stream.records.front().map(|record| record.offset),
        };
        let kept = stream.idle_ends.add_to(kept, epoch, |_| true);
        stream.acknowledged = Some(kept.clone());
        Some(Progress { acknowledged: None, next: kept })
    }

    /// Returns whether anything was read since the partition was assigned.
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.next_offset > self.start
    }

    /// Returns whether any stream is tracked.
    #[must_use]
    pub fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Returns whether the progress topic has a record of the stream, or will have once what is under way is acknowledged.
    #[must_use]
    pub fn has_progress_record(&self, stream_id: &str) -> bool {
        self.streams.get(stream_id).is_some_and(|stream| stream.has_progress_record)
    }

    /// Returns the offset that the group has committed.
    #[must_use]
    pub fn committed(&self) -> Option<i64> {
        self.committed
    }

    /// Returns whether no report is outstanding: no chunk at a shard, no window without acknowledgement, no dead letter of a stream under way.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        !self.streams.values().any(TrackedStream::is_in_flight)
    }

    /// Returns the partition's clock at `offset`, in ms.
    pub(super) fn clock_at(&self, offset: i64) -> i64 {
        let from = self.clock_before.partition_point(|(read, _)| *read < offset);
        self.clock_before.get(from).map_or(self.clock.now(), |(_, clock)| *clock)
    }

    /// Returns the offset behind the last record that was read.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Returns whether a stream was idle before a record with this timestamp: by its own timestamps, or by the partition's clock.
    #[must_use]
    pub fn was_idle(&self, stream_id: &str, timestamp: i64) -> bool {
        let stream = self.streams.get(stream_id).filter(|stream| stream.may_have_segment());
        stream.is_some_and(|stream| self.clock.was_idle(stream.last_read, timestamp))
    }

    /// Returns the streams that may have an open segment, and how it is decided whether they are idle.
    pub fn open_segments(&self) -> impl Iterator<Item = (&Arc<str>, Idle)> {
        self.streams.iter().filter(|(_, stream)| stream.may_have_segment()).map(|(stream_id, stream)| {
            let idle = self.clock.is_idle(stream.last_read);
            (stream_id, if idle { Idle::ByPartitionTime } else { Idle::PerhapsByWallTime })
        })
    }

    /// Returns where a stream that another reader left open is to go on; only for its first chunk here.
    #[must_use]
    pub fn resume(&self, stream_id: &str) -> Option<Resume> {
        let stream = self.streams.get(stream_id).filter(|stream| stream.records.is_empty())?;
        stream.acknowledged.as_ref().and_then(ProgressEntry::resume)
    }

    /// Returns the ends by wall time of the epoch that the chunk at `offset` opens; none where the chunk opens no epoch that an earlier reader has ended.
    #[must_use]
    pub fn later_idle_ends(&self, stream_id: &str, offset: i64) -> VecDeque<u64> {
        let stream = self.streams.get(stream_id);
        stream.map(|stream| stream.idle_ends.of_epoch(offset)).unwrap_or_default()
    }

    /// Returns the stream's format, where it is known.
    pub fn format(&self, stream_id: &str) -> Option<AudioFormat> {
        self.streams.get(stream_id)?.begun_with.as_ref().map(|(_, format)| *format)
    }

    /// Returns what an earlier reader has published of the epoch that the chunk at `offset` opens; `None` where the chunk opens none, or it published nothing.
    #[must_use]
    pub fn later_epoch(&self, stream_id: &str, offset: i64) -> Option<&LaterEpoch> {
        self.streams.get(stream_id)?.later_epoch(offset)
    }

    /// Returns what the stream's first chunk declared, where it is known.
    pub fn info(&self, stream_id: &str) -> Option<&Arc<StreamInfo>> {
        self.streams.get(stream_id)?.begun_with.as_ref().map(|(info, _)| info)
    }
}
