//! What each open stream needs to go on after a restart, beside the input offset that it belongs to.
//!
//! Input: positions from the offset tracker, or records of the progress topic. Output: JSON, and the entry that fits a committed offset. Pure.
//!
//! A record holds two entries. Progress and offset cannot be written at once without a transaction, so progress is written first and the offset is
//! committed after it. A process that dies in between leaves a record that is newer than the offset. The entry `next` then fits nothing, and
//! `acknowledged`, which belongs to the commit before, is used instead. The other order was rejected: an offset without its progress would leave the
//! next reader without the sample at which the stream goes on, and no older record could make up for it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::stream_state::{AcknowledgedWindows, StreamState, last_windows};
use crate::stream::{ChannelStates, PublishedWindows, Resume, ResumePoint};
use crate::window::WindowSpan;

/// Value of a record in the progress topic; its key is the stream's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressRecord {
    /// The group that reads the input; two groups must not share a progress topic.
    pub group_id: String,
    /// The two entries.
    #[serde(flatten)]
    pub progress: Progress,
}

/// The two entries of a stream; see the head of this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Belongs to the last commit that the broker had acknowledged when the record was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<ProgressEntry>,
    /// Belongs to the commit that follows the write.
    pub next: ProgressEntry,
}

/// The position of a stream for a reader that begins at an offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressEntry {
    /// The input offset; `None` before the group's first commit.
    pub offset: Option<i64>,
    /// `None` where the stream has not begun or has ended.
    pub state: Option<StreamState>,
    /// Positions at which the stream ended by wall time, ascending. A replay ends it there too.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub idle_ends: VecDeque<u64>,
    /// The same for epochs that begin at or behind the offset, by rising offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_idle_ends: Vec<LaterIdleEnds>,
    /// Windows of epochs that begin at or behind the offset and are published already, by rising offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_epochs: Vec<LaterEpoch>,
    /// Highest timestamp of the stream's records before the offset, in ms.
    pub last_timestamp: i64,
    /// The same, and the time that the partition's clock has advanced since, up to the offset. In older records the highest timestamp of the partition.
    pub highest_timestamp: i64,
}

/// Ends by wall time of an epoch whose first chunk is read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterIdleEnds {
    /// Offset of the chunk that opens the epoch.
    pub begins_at: i64,
    /// The positions, ascending.
    pub positions: VecDeque<u64>,
}

/// Published windows of an epoch whose first chunk is read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaterEpoch {
    /// Offset of the chunk that opens the epoch.
    pub begins_at: i64,
    /// The lowest window of each channel that is not published.
    pub next_windows: Vec<u64>,
    /// Length and hop of the windows that those numbers count.
    pub span: WindowSpan,
    /// The state of the stages behind the model before those windows.
    #[serde(flatten)]
    pub channel_states: ChannelStates,
}

impl LaterEpoch {
    /// Returns the last window of each channel before the next one.
    pub(super) fn acknowledged_windows(&self) -> AcknowledgedWindows {
        last_windows(self.begins_at, &self.next_windows, &self.channel_states)
    }

    /// Returns which windows of the epoch are not to be published again.
    #[must_use]
    pub fn published(&self) -> PublishedWindows {
        PublishedWindows { next_windows: self.next_windows.clone(), span: self.span }
    }
}

impl ProgressEntry {
    /// Returns the entry of a stream that has not begun at `offset`.
    #[must_use]
    pub fn not_begun(offset: Option<i64>) -> Self {
        Self {
            offset,
            state: None,
            idle_ends: VecDeque::new(),
            later_idle_ends: Vec::new(),
            later_epochs: Vec::new(),
            last_timestamp: i64::MIN,
            highest_timestamp: i64::MIN,
        }
    }

    /// Returns how long the stream has been silent at the offset by the partition's clock, in ms.
    #[must_use]
    pub fn silence_ms(&self) -> i64 {
        self.highest_timestamp.saturating_sub(self.last_timestamp).max(0)
    }

    /// Returns whether the entry holds at its own offset only. A stream with an open segment or a later epoch always has a chunk at or behind that
    /// offset. One without may be silent over many commits, and its entry is not written again for each of them.
    #[must_use]
    pub fn needs_exact_offset(&self) -> bool {
        let has_segment = self.state.as_ref().is_some_and(|state| state.first_window.is_some());
        has_segment || !self.later_epochs.is_empty() || !self.later_idle_ends.is_empty()
    }

    /// Returns whether the stream has neither begun before the offset nor published windows behind it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.later_epochs.is_empty()
    }

    /// Returns whether both describe the same position of the stream, whatever their offsets.
    #[must_use]
    pub fn same_position(&self, other: &Self) -> bool {
        (&self.state, &self.idle_ends, &self.later_idle_ends, &self.later_epochs)
            == (&other.state, &other.idle_ends, &other.later_idle_ends, &other.later_epochs)
    }

    /// Returns where the stream goes on; `None` where it has not begun.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        let at = self.state.as_ref().map(|state| ResumePoint {
            format: state.format,
            position: state.position,
            sequence: state.sequence,
            split: state.split.clone(),
            missing: state.missing,
            first_window: state.first_window,
            next_windows: state.next_windows.clone(),
            span: state.span,
        });
        let idle_ends = self.idle_ends.clone();
        (at.is_some() || !idle_ends.is_empty()).then_some(Resume { at, idle_ends, published: None })
    }
}

impl Progress {
    /// Returns the value of a [`ProgressRecord`] of `group_id` with this progress.
    #[must_use]
    pub fn to_json(&self, group_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            group_id: &'a str,
            #[serde(flatten)]
            progress: &'a Progress,
        }
        let record = Borrowed { group_id, progress: self };
        serde_json::to_vec(&record).expect("progress holds nothing that JSON cannot represent")
    }

    /// Returns the entry that fits the group's committed offset. The acknowledged entry belongs to its own offset alone, because the stream may have
    /// had chunks behind it.
    #[must_use]
    pub fn fitting(&self, committed: Option<i64>) -> Option<&ProgressEntry> {
        let next = &self.next;
        if next.offset == committed || (!next.needs_exact_offset() && next.offset < committed) {
            return Some(next);
        }
        self.acknowledged_at(committed)
    }

    /// Returns the acknowledged entry if it belongs to an offset.
    pub(super) fn acknowledged_at(&self, committed: Option<i64>) -> Option<&ProgressEntry> {
        self.acknowledged.as_ref().filter(|entry| entry.offset == committed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::audio::{AudioFormat, ChannelPolicy, Encoding};
    use crate::stream::{ChannelState, MissingAudio, RecentScores, SplitFrame};

    fn entry(offset: i64, first_window: Option<u64>) -> ProgressEntry {
        let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).unwrap();
        let state = StreamState {
            format,
            position: 800,
            sequence: None,
            split: SplitFrame::default(),
            missing: MissingAudio::default(),
            first_window,
            next_windows: vec![0],
            span: WindowSpan { length: Duration::from_secs(3), hop: Duration::from_secs(1) },
            attributes: HashMap::new(),
            model: String::new(),
            channels: ChannelPolicy::First,
            channel_names: vec!["agent".into(), "customer".into()],
            channel_states: ChannelStates::default(),
        };
        ProgressEntry { state: Some(state), ..ProgressEntry::not_begun(Some(offset)) }
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
    fn a_stream_without_an_open_segment_may_be_silent_for_long() {
        let progress = Progress { acknowledged: Some(ProgressEntry::not_begun(None)), next: entry(20, None) };
        assert_eq!(progress.fitting(Some(90)), Some(&progress.next));
        assert_eq!(progress.fitting(None), progress.acknowledged.as_ref());
        assert_eq!(progress.fitting(Some(19)), None, "not before its own offset");
    }

    /// Daemons of an older version write such records, and read those of this one.
    #[test]
    fn json_stays_the_same_byte_for_byte() {
        let mut next = entry(20, Some(1));
        next.idle_ends.push_back(400);
        if let Some(state) = &mut next.state {
            state.sequence = Some(7);
            state.attributes.insert("caller".into(), "0042".into());
            state.model = "second".into();
            let recent = RecentScores {
                segment: Duration::from_millis(1_500),
                labels: ["anger".to_owned()].into(),
                scores: vec![0.25],
            };
            let smoothed = ChannelState { recent: Some(Arc::new(recent)), ..ChannelState::default() };
            state.channel_states = ChannelStates::new(vec![smoothed]);
        }
        let progress = Progress { acknowledged: Some(ProgressEntry::not_begun(None)), next };
        let json = String::from_utf8(progress.to_json("affectd")).unwrap();
        let expected = concat!(
            r#"{"group_id":"affectd","#,
            r#""acknowledged":{"offset":null,"state":null,"last_timestamp":-9223372036854775808,"#,
            r#""highest_timestamp":-9223372036854775808},"#,
            r#""next":{"offset":20,"state":{"format":{"encoding":"mu_law","sample_rate_hz":8000,"channels":1},"#,
            r#""position":800,"sequence":7,"first_window":1,"next_windows":[0],"#,
            r#""span":{"length":{"secs":3,"nanos":0},"hop":{"secs":1,"nanos":0}},"#,
            r#""attributes":{"caller":"0042"},"model":"second","channels":"first","#,
            r#""channel_names":["agent","customer"],"#,
            r#""recent":[{"stretch":{"secs":1,"nanos":500000000},"labels":["anger"],"scores":[0.25]}]},"#,
            r#""idle_ends":[400],"last_timestamp":-9223372036854775808,"#,
            r#""highest_timestamp":-9223372036854775808}}"#,
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn json_reads_back_as_the_same_record() {
        let progress = Progress { acknowledged: None, next: entry(3, Some(1)) };
        let json = String::from_utf8(progress.to_json("affectd")).unwrap();
        let record = ProgressRecord { group_id: "affectd".into(), progress };
        assert_eq!(json, serde_json::to_string(&record).unwrap());
        assert_eq!(serde_json::from_str::<ProgressRecord>(&json).unwrap(), record);
        let old = json.replace(r#","channels":"first","channel_names":["agent","customer"]"#, "");
        let old: ProgressRecord = serde_json::from_str(&old).unwrap();
        assert_eq!(old.progress.next.state.unwrap().channels, ChannelPolicy::Split, "as it was cut then");
    }
}
