//! The progress topic: what each open stream needs to go on after a restart, beside the offset that it belongs to.
//!
//! In: entries from the ledger, records from the topic. Out: JSON, and the entry that fits a committed offset. Never touches a broker.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audio::{AudioFormat, ChannelPolicy};
use crate::stream::{ChannelState, ChannelStates, EpochPosition, RESUMED, StreamInfo};
use crate::stream::{Place, Resume, ResumePoint};
use crate::window::WindowSpan;

/// Value of a record in the progress topic; its key is the stream's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The group that reads the input; two groups must not share a progress topic.
    pub group_id: String,
    /// The entries.
    #[serde(flatten)]
    pub progress: Progress,
}

/// A stream's entries. A crash between the write of the record and the commit leaves `next` newer than the group's offset: then
/// `acknowledged` fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Belongs to the last commit that the broker had acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Entry>,
    /// Belongs to the commit that follows the write.
    pub next: Entry,
}

/// Where a stream stands for a reader that begins at an offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The input offset; `None` before the group's first commit.
    pub offset: Option<i64>,
    /// `None` where the stream has not begun or has ended.
    pub state: Option<State>,
    /// Positions at which the stream ended by wall time, ascending: a replay ends it there too.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub idle_ends: VecDeque<u64>,
    /// Timestamp of the stream's last record before the offset, in ms.
    pub last_timestamp: i64,
    /// Highest timestamp in the partition before the offset, in ms.
    pub highest_timestamp: i64,
}

/// The middle of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The stream's format.
    pub format: AudioFormat,
    /// The sample at which its next chunk begins.
    pub position: u64,
    /// Sequence of the last chunk accepted.
    pub sequence: Option<u64>,
    /// First window of the open stretch; `None` after an idle end.
    pub first_window: Option<u64>,
    /// The next window of each channel.
    pub next_windows: Vec<u64>,
    /// What those numbers count.
    pub span: WindowSpan,
    /// Echoed in the stream's events.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub attributes: HashMap<String, String>,
    /// The model that the stream asked for; empty for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// What is done with its channels; records of before streams could say so have none, and are split.
    #[serde(default)]
    pub channels: ChannelPolicy,
    /// Names of its channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_names: Vec<String>,
    /// The state of the stages behind the model before the next window of each channel, one key a stage.
    #[serde(flatten)]
    pub channel_states: ChannelStates,
}

/// Acknowledged windows by life of the stream, channel and index, each with the state of the stages behind the model after it.
pub(super) type AcknowledgedWindows = BTreeMap<(i64, u32, u64), ChannelState>;

impl State {
    /// The state of a stream that stands at `standing`.
    #[must_use]
    pub fn new(standing: &EpochPosition, info: &StreamInfo, format: AudioFormat) -> Self {
        let Place { position, sequence, first_window, next_windows, span, .. } = standing.place.clone();
        let StreamInfo { attributes, model, channels, channel_names, .. } = info.clone();
        let channels = channels.unwrap_or_default();
        Self {
            format,
            position,
            sequence,
            first_window,
            next_windows,
            span,
            attributes,
            model,
            channels,
            channel_names,
            channel_states: ChannelStates::default(),
        }
    }

    /// The last window of each channel before the next one.
    pub(super) fn acknowledged_windows(&self) -> AcknowledgedWindows {
        let last = |(channel, next): (usize, &u64)| {
            let channel = channel as u32;
            Some(((RESUMED, channel, next.checked_sub(1)?), self.channel_states.of(channel)))
        };
        self.next_windows.iter().enumerate().filter_map(last).collect()
    }

    /// The same for the ledger. Nothing before the position is needed: else the commit would lie below it.
    #[must_use]
    pub fn standing(&self) -> EpochPosition {
        let place = Place {
            position: self.position,
            sequence: self.sequence,
            first_window: self.first_window,
            open: self.first_window.is_some(),
            needed_from: self.position,
            next_windows: self.next_windows.clone(),
            span: self.span,
        };
        EpochPosition { epoch: RESUMED, place }
    }

    /// What the stream's events repeat.
    #[must_use]
    pub fn info(&self, stream_id: &Arc<str>) -> Arc<StreamInfo> {
        let Self { attributes, model, channels, channel_names, channel_states, .. } = self.clone();
        let (stream_id, channels) = (stream_id.clone(), Some(channels));
        Arc::new(StreamInfo { stream_id, attributes, model, channels, channel_names, channel_states })
    }
}

impl Entry {
    /// The entry of a stream that has not begun at `offset`.
    #[must_use]
    pub fn nothing(offset: Option<i64>) -> Self {
        Self {
            offset,
            state: None,
            idle_ends: VecDeque::new(),
            last_timestamp: i64::MIN,
            highest_timestamp: i64::MIN,
        }
    }

    /// Whether the entry holds at its own offset only. A stream in the middle of a stretch always has a chunk at or behind
    /// it; one without an open stretch may be silent for long, and its entry stays as it is.
    #[must_use]
    pub fn needs_exact_offset(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.first_window.is_some())
    }

    /// Whether both say the same of the stream, whatever their offsets.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        self.state == other.state && self.idle_ends == other.idle_ends
    }

    /// Where the stream goes on.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        let at = self.state.as_ref().map(|state| ResumePoint {
            format: state.format,
            position: state.position,
            sequence: state.sequence,
            first_window: state.first_window,
            next_windows: state.next_windows.clone(),
            span: state.span,
        });
        (at.is_some() || !self.idle_ends.is_empty()).then(|| Resume { at, idle_ends: self.idle_ends.clone() })
    }
}

impl Progress {
    /// The entry that fits the group's committed offset. The acknowledged one belongs to its own offset alone: behind it the
    /// stream may have had chunks.
    #[must_use]
    pub fn fitting(&self, committed: Option<i64>) -> Option<&Entry> {
        let next = &self.next;
        if next.offset == committed || (!next.needs_exact_offset() && next.offset < committed) {
            return Some(next);
        }
        self.acknowledged.as_ref().filter(|entry| entry.offset == committed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audio::Encoding;

    fn entry(offset: i64, first_window: Option<u64>) -> Entry {
        let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).unwrap();
        let state = State {
            format,
            position: 800,
            sequence: None,
            first_window,
            next_windows: vec![0],
            span: WindowSpan { length: Duration::from_secs(3), hop: Duration::from_secs(1) },
            attributes: HashMap::new(),
            model: String::new(),
            channels: ChannelPolicy::First,
            channel_names: vec!["agent".into(), "customer".into()],
            channel_states: ChannelStates::default(),
        };
        Entry { state: Some(state), ..Entry::nothing(Some(offset)) }
    }

    #[test]
    fn the_entry_of_the_committed_offset_fits_and_no_other() {
        let progress = Progress { acknowledged: Some(entry(10, Some(0))), next: entry(20, Some(0)) };
        assert_eq!(progress.fitting(Some(20)), Some(&progress.next));
        assert_eq!(progress.fitting(Some(10)), progress.acknowledged.as_ref());
        for lost in [None, Some(9), Some(15), Some(21)] {
            assert_eq!(progress.fitting(lost), None, "{lost:?}");
        }
    }

    #[test]
    fn a_stream_without_an_open_stretch_may_be_silent_for_long() {
        let progress = Progress { acknowledged: Some(Entry::nothing(None)), next: entry(20, None) };
        assert_eq!(progress.fitting(Some(90)), Some(&progress.next));
        assert_eq!(progress.fitting(None), progress.acknowledged.as_ref());
        assert_eq!(progress.fitting(Some(19)), None, "not before its own offset");
    }

    #[test]
    fn json_brings_the_same_record_back() {
        let progress = Progress { acknowledged: None, next: entry(3, Some(1)) };
        let record = Record { group_id: "affectd".into(), progress };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
        let old = json.replace(r#","channels":"first","channel_names":["agent","customer"]"#, "");
        let old: Record = serde_json::from_str(&old).unwrap();
        assert_eq!(old.progress.next.state.unwrap().channels, ChannelPolicy::Split, "as it was cut then");
    }
}
