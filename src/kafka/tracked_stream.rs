//! The tracked state of one stream: its records, its windows that wait for an acknowledgement, its position.
//!
//! Input: what the offset tracker of its partition receives. Output: which offsets are settled, and the progress entry for any offset. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::idle_ends::IdleEnds;
use super::partition_clock::ReadAt;
use super::progress::{LaterEpoch, ProgressEntry};
use super::stream_state::{AcknowledgedWindows, StreamState};
use crate::audio::AudioFormat;
use crate::stream::{ChannelState, ChannelStates, EpochPosition, SUMMARY_CHANNEL, StreamInfo, Ticket};
use crate::window::WindowSpan;

/// Lies behind every chunk of every epoch of a stream.
const NOTHING_NEEDED: (i64, u64) = (i64::MAX, u64::MAX);

/// One record of a stream that may still be read again.
#[derive(Debug)]
pub(super) struct TrackedRecord {
    pub offset: i64,
    /// When the stream's records before this one were written.
    pub last_read_before: ReadAt,
    /// Length and hop of the windows that its stream has if the record opens it.
    pub span: WindowSpan,
    pub state: RecordState,
}

#[derive(Debug, PartialEq)]
pub(super) enum RecordState {
    /// The shard has not reported yet.
    AtShard,
    /// The shard has accepted the chunk. It settles once nothing before `end` (epoch of the stream, sample) is needed.
    Accepted { before: Option<EpochPosition>, end: (i64, u64) },
    /// The shard has refused the chunk. It settles with its dead letter.
    Refused,
    /// Nothing needs the record any more. `before` is the position before the chunk; `None` where the chunk was refused, since it moved nothing.
    Settled { before: Option<Option<EpochPosition>> },
}

impl TrackedRecord {
    /// Returns the position of the stream before an accepted chunk; `None` for any other record.
    fn position_before(&self) -> Option<Option<&EpochPosition>> {
        match &self.state {
            RecordState::Accepted { before, .. } | RecordState::Settled { before: Some(before) } => {
                Some(before.as_ref())
            }
            RecordState::AtShard | RecordState::Refused | RecordState::Settled { before: None } => None,
        }
    }
}

/// The tracked state of one stream.
#[derive(Debug, Default)]
pub(super) struct TrackedStream {
    /// By rising offset.
    pub records: VecDeque<TrackedRecord>,
    /// Windows that were submitted and are not acknowledged.
    pub pending_windows: Vec<Ticket>,
    /// The position after the last chunk that a shard reported on; `None` where the stream has not begun or has ended.
    pub position: Option<EpochPosition>,
    /// What the first chunk declared, and the format.
    pub begun_with: Option<(Arc<StreamInfo>, AudioFormat)>,
    /// When it was last read, by its own timestamps and by the partition's clock.
    pub last_read: ReadAt,
    /// Positions at which it ended by wall time.
    pub idle_ends: IdleEnds,
    /// The entry of the last acknowledged commit.
    pub acknowledged: Option<ProgressEntry>,
    /// The entry of the commit that is under way.
    pub proposed: Option<ProgressEntry>,
    /// Whether the progress topic has a record of it.
    pub has_progress_record: bool,
    /// Whether that record may hold an entry of a reader that died before its commit. The next commit then writes it again.
    pub record_in_doubt: bool,
    /// Epochs of which an earlier reader has published windows, until their first chunk is committed.
    pub later_epochs: Vec<LaterEpoch>,
    /// The last window of each channel before the lowest one that is not acknowledged, and any behind that.
    pub acknowledged_windows: AcknowledgedWindows,
    /// Whether it has been silent for so long that a commit closes it.
    pub closing: bool,
}

impl TrackedStream {
    /// Settles every chunk that ends before all that is still needed, and removes their offsets from `unsettled`.
    pub fn settle(&mut self, unsettled: &mut BTreeSet<i64>) {
        let by_later_windows =
            self.position.as_ref().map_or(NOTHING_NEEDED, |at| (at.epoch, at.position.needed_from));
        let by_pending = self.pending_windows.iter().map(|ticket| (ticket.epoch, ticket.needed_from));
        let needed = by_pending.fold(by_later_windows, Ord::min);
        for record in &mut self.records {
            match &mut record.state {
                RecordState::Accepted { before, end } if *end <= needed => {
                    record.state = RecordState::Settled { before: Some(before.take()) };
                    unsettled.remove(&record.offset);
                }
                RecordState::Accepted { .. } => break,
                RecordState::AtShard | RecordState::Refused | RecordState::Settled { .. } => {}
            }
        }
    }

    /// Returns the entry for a reader that begins at `offset`, where the partition's clock stands at `clock`.
    pub fn entry_at(&self, offset: i64, clock: i64) -> ProgressEntry {
        let from = self.records.partition_point(|record| record.offset < offset);
        let first = self.records.get(from);
        // The position at the offset is the one before the first record behind it that moved the stream; while that record is at its shard, the
        // stream has not moved yet.
        let before = self.records.range(from..).find_map(|record| match record.state {
            RecordState::AtShard => Some(self.position.as_ref()),
            _ => record.position_before(),
        });
        let position = before.unwrap_or(self.position.as_ref());
        let state = position.zip(self.begun_with.as_ref()).map(|(position, (info, format))| {
            let mut state = StreamState::new(position, info, *format);
            state.next_windows = self.next_windows(position);
            state.channel_states = self.states_before(position.epoch, &state.next_windows);
            state
        });
        let sample = state.as_ref().map_or(0, |state| state.position);
        let closed = state.as_ref().is_some_and(|state| state.first_window.is_none());
        let last_read = first.map_or(self.last_read, |record| record.last_read_before);
        let is_ahead = |end: &u64| *end > sample || (*end == sample && !closed);
        let epoch = match &state {
            Some(_) => position.map(|position| position.epoch),
            None => first.map(|record| record.offset),
        };
        let entry = ProgressEntry {
            state,
            later_epochs: self.later_epochs_at(offset),
            last_timestamp: last_read.timestamp,
            highest_timestamp: last_read.timestamp.saturating_add(clock - last_read.clock),
            ..ProgressEntry::not_begun(Some(offset))
        };
        self.idle_ends.add_to(entry, epoch, is_ahead)
    }

    /// Returns the offset of the first record of an epoch that has records before `offset` and others at or behind it.
    pub fn epoch_around(&self, offset: i64) -> Option<i64> {
        let epoch_of = |record: &TrackedRecord| {
            record.position_before().map(|before| before.map_or(record.offset, |position| position.epoch))
        };
        let from = self.records.partition_point(|record| record.offset < offset);
        let later: BTreeSet<i64> = self.records.range(from..).filter_map(epoch_of).collect();
        let is_around =
            |record: &&TrackedRecord| epoch_of(record).is_some_and(|epoch| later.contains(&epoch));
        self.records.range(..from).find(is_around).map(|record| record.offset)
    }

    /// Notes that a window's event is acknowledged.
    pub fn acknowledge(&mut self, ticket: &Ticket, state: ChannelState) {
        self.pending_windows.retain(|other| other != ticket);
        let of = (ticket.epoch, ticket.channel);
        self.acknowledged_windows.insert((of.0, of.1, ticket.index), state);
        let next = self.next_window(of, 0);
        let last = self.acknowledged_before(of, next).map_or(0, |(window, _)| window);
        self.acknowledged_windows
            .retain(|(epoch, channel, window), _| (*epoch, *channel) != of || *window >= last);
    }

    /// Returns the epochs that begin at or behind `offset` and have acknowledged windows.
    fn later_epochs_at(&self, offset: i64) -> Vec<LaterEpoch> {
        let mut later = Vec::new();
        let mut from = offset.max(0);
        while let Some(((epoch, ..), _)) = self.acknowledged_windows.range((from, 0, 0)..).next() {
            let epoch = *epoch;
            let windows = self.acknowledged_windows.range((epoch, 0, 0)..=(epoch, u32::MAX, u64::MAX));
            let last_channel = windows.map(|((_, channel, _), _)| *channel).max().unwrap_or(0);
            let next_windows: Vec<u64> =
                (0..=last_channel).map(|channel| self.next_window((epoch, channel), 0)).collect();
            if let Some(span) = self.span_of(epoch) {
                let channel_states = self.states_before(epoch, &next_windows);
                later.push(LaterEpoch { begins_at: epoch, next_windows, span, channel_states });
            }
            from = epoch + 1;
        }
        later
    }

    /// Returns length and hop of the windows of an epoch that begins behind the committed offset.
    fn span_of(&self, epoch: i64) -> Option<WindowSpan> {
        let from = self.records.partition_point(|record| record.offset < epoch);
        let record = self.records.get(from).filter(|record| record.offset == epoch);
        let unread = || self.later_epochs.iter().find(|later| later.begins_at == epoch);
        record.map(|record| record.span).or_else(|| unread().map(|later| later.span))
    }

    /// Returns what an earlier reader has published of the epoch that the chunk at `offset` opens.
    pub fn later_epoch(&self, offset: i64) -> Option<&LaterEpoch> {
        self.later_epochs.iter().find(|later| later.begins_at == offset)
    }

    /// Forgets the windows of epochs that no entry at or behind `offset` will describe.
    pub fn forget_epochs(&mut self, offset: i64) {
        self.later_epochs.retain(|later| later.begins_at >= offset);
        let befores = self.records.iter().filter_map(TrackedRecord::position_before).flatten();
        let epochs = befores.chain(&self.position).map(|position| position.epoch);
        let epochs = epochs.chain(self.pending_windows.iter().map(|ticket| ticket.epoch));
        let epochs: BTreeSet<i64> = epochs.collect();
        self.acknowledged_windows.retain(|(epoch, ..), _| *epoch >= offset || epochs.contains(epoch));
    }

    /// Returns the lowest window of each channel that is not acknowledged.
    fn next_windows(&self, position: &EpochPosition) -> Vec<u64> {
        let newest = self.position.as_ref().filter(|newest| newest.epoch == position.epoch);
        let submitted = &newest.unwrap_or(position).position.next_windows;
        let next = |(channel, submitted): (usize, &u64)| {
            self.next_window((position.epoch, channel as u32), *submitted)
        };
        submitted.iter().enumerate().map(next).collect()
    }

    /// Returns the lowest window of an epoch's channel that is not acknowledged, where all before `submitted` were submitted.
    fn next_window(&self, (epoch, channel): (i64, u32), submitted: u64) -> u64 {
        let of_channel =
            self.pending_windows.iter().filter(|ticket| (ticket.epoch, ticket.channel) == (epoch, channel));
        of_channel.map(|ticket| ticket.index).min().unwrap_or_else(|| {
            let all = (epoch, channel, 0)..=(epoch, channel, u64::MAX);
            let last = self.acknowledged_windows.range(all).next_back();
            last.map_or(submitted, |((.., window), _)| submitted.max(window + 1))
        })
    }

    /// Returns the last acknowledged window of an epoch's channel before `next`. Where the windows between are silent, it is not the one just before.
    fn acknowledged_before(&self, (epoch, channel): (i64, u32), next: u64) -> Option<(u64, &ChannelState)> {
        let range = (epoch, channel, 0)..(epoch, channel, next);
        let before = self.acknowledged_windows.range(range).next_back();
        before.map(|((.., window), state)| (*window, state))
    }

    /// Returns the state of the stages behind the model before the given windows, the next of each channel.
    fn states_before(&self, epoch: i64, next_windows: &[u64]) -> ChannelStates {
        let of = |(channel, next): (usize, &u64)| {
            let before = self.acknowledged_before((epoch, channel as u32), *next);
            before.map(|(_, state)| state.clone()).unwrap_or_default()
        };
        ChannelStates::new(next_windows.iter().enumerate().map(of).collect())
    }

    /// Returns whether a segment is open, or may be once the shard has reported.
    pub fn may_have_segment(&self) -> bool {
        let open = self.position.as_ref().is_some_and(|position| position.position.open);
        open || self.awaits_shard()
    }

    /// Returns whether a chunk is on its way through the shard.
    pub fn awaits_shard(&self) -> bool {
        self.records.iter().any(|record| record.state == RecordState::AtShard)
    }

    /// Returns whether a report or an acknowledgement is still to come for a record or a window.
    pub fn is_in_flight(&self) -> bool {
        let unanswered =
            |record: &TrackedRecord| matches!(record.state, RecordState::AtShard | RecordState::Refused);
        // The end of a stream may wait for other streams of its call. A drain does not: the next reader reads the end again.
        let is_window = |ticket: &Ticket| ticket.channel != SUMMARY_CHANNEL;
        self.pending_windows.iter().any(is_window) || self.records.iter().any(unanswered)
    }

    /// Returns whether the stream has ended, or never begun, and nothing of it is needed from `offset` on.
    pub fn is_over_at(&self, offset: i64) -> bool {
        self.position.is_none()
            && self.pending_windows.is_empty()
            && self.records.back().is_none_or(|record| record.offset < offset)
            && self.later_epochs.iter().all(|later| later.begins_at < offset)
    }
}
