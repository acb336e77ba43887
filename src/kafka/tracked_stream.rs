//! The books of one stream: its records, the windows under way, where it stands.
//!
//! In: what the partition's ledger notes. Out: which offsets are settled, and the entry for any offset. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::progress::{AcknowledgedWindows, Entry, State};
use crate::audio::AudioFormat;
use crate::stream::{ChannelState, ChannelStates, EpochPosition, StreamInfo, Ticket};

/// Behind every chunk of every life of a stream.
const NOTHING_NEEDED: (i64, u64) = (i64::MAX, u64::MAX);

/// One record of a stream that may still be read again.
#[derive(Debug)]
pub(super) struct TrackedRecord {
    pub offset: i64,
    /// Timestamp of the stream's record before this one.
    pub last_timestamp_before: i64,
    pub fate: RecordState,
}

#[derive(Debug, PartialEq)]
pub(super) enum RecordState {
    /// The shard has not answered yet.
    Open,
    /// ChunkAccepted in; settles when nothing before `end` (life of the stream, sample) is needed.
    ChunkAccepted { before: Option<EpochPosition>, end: (i64, u64) },
    /// Refused; settles with its dead letter.
    Refused,
    /// Nobody needs it any more; `before` is lost for one that was refused.
    Settled { before: Option<Option<EpochPosition>> },
}

/// The books of one stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub marks: VecDeque<TrackedRecord>,
    pub outstanding: Vec<Ticket>,
    /// Where it stands after the last chunk that was answered.
    pub standing: Option<EpochPosition>,
    /// Of the first chunk taken in.
    pub about: Option<(Arc<StreamInfo>, AudioFormat)>,
    pub last_timestamp: i64,
    /// Positions at which it ended by wall time.
    pub idle_ends: VecDeque<u64>,
    /// Where it stood at the last acknowledged commit.
    pub acknowledged: Option<Entry>,
    /// Whether the progress topic has a record of it.
    pub written: bool,
    /// Whether the topic's record may hold an entry of a reader that died before its commit: the next commit writes it anew.
    pub in_doubt: bool,
    /// The last window of each channel before the lowest one that is not acknowledged, and any behind that.
    pub acknowledged_windows: AcknowledgedWindows,
}

impl Stream {
    /// Settles every chunk that ends before all that is still needed.
    pub fn settle(&mut self, unsettled: &mut BTreeSet<i64>) {
        let to_come = self.standing.as_ref().map_or(NOTHING_NEEDED, |at| (at.epoch, at.place.needed_from));
        let under_way = self.outstanding.iter().map(|ticket| (ticket.epoch, ticket.needed_from));
        let needed = under_way.fold(to_come, Ord::min);
        for mark in &mut self.marks {
            match &mut mark.fate {
                RecordState::ChunkAccepted { before, end } if *end <= needed => {
                    mark.fate = RecordState::Settled { before: Some(before.take()) };
                    unsettled.remove(&mark.offset);
                }
                RecordState::ChunkAccepted { .. } => break,
                RecordState::Open | RecordState::Refused | RecordState::Settled { .. } => {}
            }
        }
    }

    /// Where the stream stands for a reader that begins at `offset`.
    pub fn entry_at(&self, offset: i64, highest_timestamp: i64) -> Entry {
        let from = self.marks.partition_point(|mark| mark.offset < offset);
        let rest = || self.marks.range(from..);
        let before = rest().find_map(|mark| match &mark.fate {
            RecordState::ChunkAccepted { before, .. } | RecordState::Settled { before: Some(before) } => {
                Some(before.as_ref())
            }
            RecordState::Open => Some(self.standing.as_ref()),
            RecordState::Refused | RecordState::Settled { before: None } => None,
        });
        let standing = before.unwrap_or(self.standing.as_ref());
        let first = rest().next();
        let state = standing.zip(self.about.as_ref()).map(|(standing, (info, format))| {
            let mut state = State::new(standing, info, *format);
            state.next_windows = self.next_windows(standing);
            state.channel_states = self.states_before(standing.epoch, &state.next_windows);
            state
        });
        let position = state.as_ref().map_or(0, |state| state.position);
        let closed = state.as_ref().is_some_and(|state| state.first_window.is_none());
        let pending = |end: &&u64| **end > position || (**end == position && !closed);
        Entry {
            offset: Some(offset),
            idle_ends: self.idle_ends.iter().filter(pending).copied().collect(),
            state,
            last_timestamp: first.map_or(self.last_timestamp, |mark| mark.last_timestamp_before),
            highest_timestamp,
        }
    }

    /// A window's event is acknowledged.
    pub fn acknowledge(&mut self, ticket: &Ticket, state: ChannelState) {
        self.outstanding.retain(|other| other != ticket);
        let of = (ticket.epoch, ticket.channel);
        self.acknowledged_windows.insert((of.0, of.1, ticket.index), state);
        let next = self.next_window(of, 0);
        let last = self.acknowledged_before(of, next).map_or(0, |(window, _)| window);
        self.acknowledged_windows
            .retain(|(life, channel, window), _| (*life, *channel) != of || *window >= last);
    }

    /// Forgets the windows of lives that no entry will be about any more.
    pub fn forget_epochs(&mut self) {
        let befores = self.marks.iter().filter_map(|mark| match &mark.fate {
            RecordState::ChunkAccepted { before, .. } | RecordState::Settled { before: Some(before) } => {
                before.as_ref()
            }
            RecordState::Open | RecordState::Refused | RecordState::Settled { before: None } => None,
        });
        let lives = befores.chain(&self.standing).map(|standing| standing.epoch);
        let lives: BTreeSet<i64> = lives.chain(self.outstanding.iter().map(|ticket| ticket.epoch)).collect();
        self.acknowledged_windows.retain(|(life, ..), _| lives.contains(life));
    }

    /// The lowest window of each channel that is not acknowledged.
    fn next_windows(&self, standing: &EpochPosition) -> Vec<u64> {
        let newest = self.standing.as_ref().filter(|newest| newest.epoch == standing.epoch);
        let given = &newest.unwrap_or(standing).place.next_windows;
        let next =
            |(channel, given): (usize, &u64)| self.next_window((standing.epoch, channel as u32), *given);
        given.iter().enumerate().map(next).collect()
    }

    /// The lowest window of a life's channel that is not acknowledged, where all before `given` are.
    fn next_window(&self, (life, channel): (i64, u32), given: u64) -> u64 {
        let of_channel =
            self.outstanding.iter().filter(|ticket| (ticket.epoch, ticket.channel) == (life, channel));
        of_channel.map(|ticket| ticket.index).min().unwrap_or_else(|| {
            let all = (life, channel, 0)..=(life, channel, u64::MAX);
            let last = self.acknowledged_windows.range(all).next_back();
            last.map_or(given, |((.., window), _)| given.max(window + 1))
        })
    }

    /// The last acknowledged window of a life's channel before `next`: not just before it, where the ones between are silent.
    fn acknowledged_before(&self, (life, channel): (i64, u32), next: u64) -> Option<(u64, &ChannelState)> {
        let before = self.acknowledged_windows.range((life, channel, 0)..(life, channel, next)).next_back();
        before.map(|((.., window), state)| (*window, state))
    }

    /// The state of the stages behind the model before the given windows, the next of each channel.
    fn states_before(&self, life: i64, next_windows: &[u64]) -> ChannelStates {
        let of = |(channel, next): (usize, &u64)| {
            let before = self.acknowledged_before((life, channel as u32), *next);
            before.map(|(_, state)| state.clone()).unwrap_or_default()
        };
        ChannelStates::new(next_windows.iter().enumerate().map(of).collect())
    }

    /// Whether a stretch is open, or may be once the shard has answered.
    pub fn may_have_segment(&self) -> bool {
        let open = self.standing.as_ref().is_some_and(|standing| standing.place.open);
        open || self.awaits_shard()
    }

    /// Whether a chunk is still on its way through the shard.
    pub fn awaits_shard(&self) -> bool {
        self.marks.iter().any(|mark| mark.fate == RecordState::Open)
    }
}
