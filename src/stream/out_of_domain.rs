//! The state of the out-of-domain judgement for one channel: how long the scores of its windows have been above the model's threshold.
//!
//! Input: the windows of a channel in order, each with its time and whether its score is above the threshold. Output: whether the channel is out of domain.
//! Plain values, part of the stream's progress record. Pure: time is that of the stream. Only windows that reached the model count: silence neither
//! prolongs the time above the threshold nor ends it.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The last windows of a channel, none of which is at or below the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfDomainState {
    /// The time of the stream that these windows cover.
    pub covered: Duration,
    /// The end of the newest one, from the stream's start.
    pub end: Duration,
    /// Whether they cover `publish.out_of_domain_after`, so that the channel is out of domain.
    pub is_out: bool,
}

impl OutOfDomainState {
    /// Returns the state after a further window above the threshold, which follows those of `before`. The channel is out of domain once its windows cover
    /// `after`.
    #[must_use]
    pub fn after_window(before: Option<Self>, window: &Range<Duration>, after: Duration) -> Self {
        let begun = before.map_or(window.start, |before| before.end.max(window.start));
        let covered = before.map_or(Duration::ZERO, |before| before.covered);
        let covered = covered.saturating_add(window.end.saturating_sub(begun));
        let is_out = before.is_some_and(|before| before.is_out) || covered >= after;
        let end = before.map_or(window.end, |before| before.end.max(window.end));
        Self { covered, end, is_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    fn seconds(range: Range<u64>) -> Range<Duration> {
        Duration::from_secs(range.start)..Duration::from_secs(range.end)
    }

    /// The state after windows of 3 s every second.
    fn state(windows: Range<u64>, before: Option<OutOfDomainState>) -> Option<OutOfDomainState> {
        windows.fold(before, |before, at| {
            Some(OutOfDomainState::after_window(before, &seconds(at..at + 3), AFTER))
        })
    }

    #[test]
    fn windows_that_overlap_count_once() {
        let short = state(0..27, None).unwrap();
        assert_eq!((short.covered, short.is_out), (Duration::from_secs(29), false));
        assert!(state(27..28, Some(short)).unwrap().is_out);
    }

    #[test]
    fn windows_that_did_not_reach_the_model_add_no_time() {
        let before = state(0..20, None);
        let later = state(500..507, before).unwrap();
        assert_eq!((later.covered, later.is_out), (Duration::from_secs(22 + 9), true));
        assert!(!state(500..505, before).unwrap().is_out);
    }

    #[test]
    fn json_brings_the_same_state_back() {
        let found = state(0..30, None).unwrap();
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<OutOfDomainState>(&json).unwrap(), found);
    }
}
