//! One partition's books: which offsets are settled, and where each stream stood at any of them.
//!
//! In: what was read, and what the shards and the producer report. Out: the lowest unsettled offset, and the progress that belongs to a
//! commit there. Invariant: an offset is settled only when no window, given or still to come, needs its chunk; nothing is settled by
//! forgetting. Pure: no broker, no clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::progress::{Entry, Progress, State};
use super::tracked_stream::{RecordState, Stream, TrackedRecord};
use crate::shard::ChunkAccepted;
use crate::stream::Resume;
use crate::stream::{ChannelState, EpochPosition, StreamInfo, Ticket};

/// The books of one partition.
#[derive(Debug)]
pub struct OffsetTracker {
    streams: HashMap<Arc<str>, Stream>,
    unsettled: BTreeSet<i64>,
    /// Records that may be read again, with the highest timestamp before each.
    highest_before: VecDeque<(i64, i64)>,
    /// Where reading began.
    start: i64,
    /// Behind the last record read.
    next_offset: i64,
    /// What the group has committed; `None` before its first commit.
    committed: Option<i64>,
    highest_timestamp: i64,
}

impl OffsetTracker {
    /// Opens the books at the group's committed offset, with the streams that another reader left open there.
    #[must_use]
    pub fn open(start: i64, committed: Option<i64>, left: &HashMap<Arc<str>, Entry>) -> Self {
        let mut tracker = Self {
            streams: HashMap::new(),
            unsettled: BTreeSet::new(),
            highest_before: VecDeque::new(),
            start,
            next_offset: start,
            committed,
            highest_timestamp: i64::MIN,
        };
        for (stream_id, entry) in left {
            tracker.highest_timestamp = tracker.highest_timestamp.max(entry.highest_timestamp);
            let stream = Stream {
                standing: entry.state.as_ref().map(State::standing),
                about: entry.state.as_ref().map(|state| (state.info(stream_id), state.format)),
                last_timestamp: entry.last_timestamp,
                idle_ends: entry.idle_ends.clone(),
                acknowledged_windows: entry
                    .state
                    .as_ref()
                    .map(State::acknowledged_windows)
                    .unwrap_or_default(),
                // It may have been written for an earlier offset; it fits this one.
                acknowledged: Some(Entry { offset: committed, ..entry.clone() }),
                written: true,
                in_doubt: true,
                ..Stream::default()
            };
            tracker.streams.insert(stream_id.clone(), stream);
        }
        tracker
    }

    /// Notes a record that is on its way to its shard, or with no stream a record that becomes a dead letter. Offsets rise.
    pub fn read(&mut self, offset: i64, stream_id: Option<&Arc<str>>, timestamp: i64) {
        self.highest_before.push_back((offset, self.highest_timestamp));
        self.highest_timestamp = self.highest_timestamp.max(timestamp);
        if let Some(stream_id) = stream_id {
            let stream = self.streams.entry(stream_id.clone()).or_default();
            let last_timestamp_before = std::mem::replace(&mut stream.last_timestamp, timestamp);
            stream.marks.push_back(TrackedRecord { offset, last_timestamp_before, fate: RecordState::Open });
        }
        self.unsettled.insert(offset);
        self.next_offset = offset + 1;
    }

    /// A shard took a chunk in.
    pub fn taken(&mut self, taken: ChunkAccepted) {
        let Some(stream) = self.streams.get_mut(&taken.stream_id) else { return };
        stream.about = Some((taken.info, taken.format));
        stream.standing = taken.after;
        if let Some(mark) = stream.marks.iter_mut().find(|mark| mark.offset == taken.offset) {
            mark.fate = RecordState::ChunkAccepted { before: taken.before, end: taken.end };
        }
        stream.settle(&mut self.unsettled);
    }

    /// A shard refused a chunk.
    pub fn refused(&mut self, stream_id: &str, offset: i64) {
        self.set_fate(stream_id, offset, RecordState::Refused);
    }

    /// A dead letter is acknowledged.
    pub fn dead_letter_delivered(&mut self, stream_id: Option<&str>, offset: i64) {
        self.unsettled.remove(&offset);
        if let Some(stream_id) = stream_id {
            self.set_fate(stream_id, offset, RecordState::Settled { before: None });
        }
    }

    fn set_fate(&mut self, stream_id: &str, offset: i64, fate: RecordState) {
        let stream = self.streams.get_mut(stream_id);
        if let Some(mark) =
            stream.and_then(|stream| stream.marks.iter_mut().find(|mark| mark.offset == offset))
        {
            mark.fate = fate;
        }
    }

    /// A window is on its way.
    pub fn emitted(&mut self, ticket: Ticket) {
        if let Some(stream) = self.streams.get_mut(&ticket.stream_id) {
            stream.outstanding.push(ticket);
        }
    }

    /// A window's event is acknowledged; `state` is the state of the channel's later stages after it.
    pub fn delivered(&mut self, ticket: &Ticket, state: ChannelState) {
        let Some(stream) = self.streams.get_mut(&ticket.stream_id) else { return };
        stream.acknowledge(ticket, state);
        stream.settle(&mut self.unsettled);
    }

    /// A stretch ended by idle time.
    pub fn segment_ended(&mut self, stream_id: &str, standing: EpochPosition) {
        if let Some(stream) = self.streams.get_mut(stream_id) {
            stream.standing = Some(standing);
            stream.settle(&mut self.unsettled);
        }
    }

    /// Notes that a stream ends by wall time where it stands; gives the progress to be written before it does.
    pub fn idle_end(&mut self, stream_id: &str) -> Option<Progress> {
        let stream = self.streams.get_mut(stream_id).filter(|stream| !stream.awaits_shard())?;
        stream.written = true;
        stream.idle_ends.push_back(stream.standing.as_ref()?.place.position);
        let mut kept = stream.acknowledged.clone().unwrap_or_else(|| Entry::nothing(self.committed));
        kept.idle_ends.clone_from(&stream.idle_ends);
        stream.acknowledged = Some(kept.clone());
        Some(Progress { acknowledged: None, next: kept })
    }

    /// The offset below which all is settled: what may be committed.
    #[must_use]
    pub fn low_watermark(&self) -> i64 {
        self.unsettled.first().copied().unwrap_or(self.next_offset)
    }

    /// Whether anything was read since the books were opened.
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.next_offset > self.start
    }

    /// What the group has committed.
    #[must_use]
    pub fn committed(&self) -> Option<i64> {
        self.committed
    }

    /// Whether everything that was read is answered for: no chunk at a shard, no window under way, no dead letter pending.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let quiet = |stream: &Stream| {
            stream.outstanding.is_empty()
                && stream
                    .marks
                    .iter()
                    .all(|mark| !matches!(mark.fate, RecordState::Open | RecordState::Refused))
        };
        self.streams.values().all(quiet)
    }

    /// The progress that belongs to a commit at `offset`, of every stream that it has changed for.
    #[must_use]
    pub fn progress_at(&mut self, offset: i64) -> Vec<(Arc<str>, Progress)> {
        let highest_timestamp = self.highest_timestamp_at(offset);
        let mut changed = Vec::new();
        for (stream_id, stream) in &mut self.streams {
            let next = stream.entry_at(offset, highest_timestamp);
            let same = match &stream.acknowledged {
                Some(old) => old.same_place(&next),
                None => next.state.is_none(),
            };
            if same && !next.needs_exact_offset() && !stream.in_doubt {
                continue;
            }
            stream.written = true;
            let old = stream.acknowledged.clone().unwrap_or_else(|| Entry::nothing(self.committed));
            changed.push((stream_id.clone(), Progress { acknowledged: Some(old), next }));
        }
        changed
    }

    /// The broker acknowledged a commit at `offset`. Gives the streams that ended before it and
    /// are still in the progress topic.
    pub fn commit_acknowledged(&mut self, offset: i64) -> Vec<Arc<str>> {
        self.committed = Some(offset);
        let highest = self.highest_timestamp_at(offset);
        while self.highest_before.front().is_some_and(|(read, _)| *read < offset) {
            self.highest_before.pop_front();
        }
        for stream in self.streams.values_mut() {
            let entry = stream.entry_at(offset, highest);
            stream.idle_ends.clone_from(&entry.idle_ends);
            stream.acknowledged = Some(entry);
            while stream.marks.front().is_some_and(|mark| mark.offset < offset) {
                stream.marks.pop_front();
            }
            stream.in_doubt = false;
            stream.forget_epochs();
        }
        let over = |stream: &Stream| {
            stream.standing.is_none() && stream.marks.is_empty() && stream.outstanding.is_empty()
        };
        let ended: Vec<_> = self.streams.extract_if(|_, stream| over(stream)).collect();
        ended.into_iter().filter(|(_, stream)| stream.written).map(|(stream_id, _)| stream_id).collect()
    }

    /// The highest timestamp below `offset`.
    fn highest_timestamp_at(&self, offset: i64) -> i64 {
        let from = self.highest_before.partition_point(|(read, _)| *read < offset);
        self.highest_before.get(from).map_or(self.highest_timestamp, |(_, highest)| *highest)
    }

    /// Whether the stream's last record lies more than `idle_ms` before the highest timestamp, `timestamp` included.
    #[must_use]
    pub fn was_idle(&self, stream_id: &str, timestamp: i64, idle_ms: i64) -> bool {
        let highest = self.highest_timestamp.max(timestamp);
        self.streams.get(stream_id).is_some_and(|stream| {
            stream.may_have_segment() && highest.saturating_sub(stream.last_timestamp) > idle_ms
        })
    }

    /// Streams with an open stretch: those idle by the partition's own time, and those that might be by wall time.
    pub fn open_segments(&self, idle_ms: i64) -> impl Iterator<Item = (&Arc<str>, Idle)> {
        self.streams.iter().filter(|(_, stream)| stream.may_have_segment()).map(move |(stream_id, stream)| {
            let idle = self.highest_timestamp.saturating_sub(stream.last_timestamp) > idle_ms;
            (stream_id, if idle { Idle::ByPartitionTime } else { Idle::PerhapsByWallTime })
        })
    }

    /// Where a stream that another reader left is to go on; once, with its first chunk here.
    #[must_use]
    pub fn resume(&self, stream_id: &str) -> Option<Resume> {
        let stream = self.streams.get(stream_id).filter(|stream| stream.marks.is_empty())?;
        stream.acknowledged.as_ref().and_then(Entry::resume)
    }

    /// What the stream's first chunk said for all of them, where it was read.
    pub fn info(&self, stream_id: &str) -> Option<&Arc<StreamInfo>> {
        self.streams.get(stream_id)?.about.as_ref().map(|(info, _)| info)
    }
}

/// How a stream's silence is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// The partition's records have moved past it.
    ByPartitionTime,
    /// Only the clock can tell.
    PerhapsByWallTime,
}
