//! The state that the stages behind the model keep, stream by stream and channel by channel.
//!
//! Input: windows of many streams, those of a channel in order, and the end of each stream. Output: the state that a stage reads and changes,
//! and that goes into the stream's progress. One task owns it, so there is no lock.
//! Invariant: a stream's state lives from its first window to its end marker, and no longer.

use std::collections::HashMap;
use std::sync::Arc;

use crate::stream::{ChannelState, ChannelStates, StreamInfo};

/// The states of all open streams.
#[derive(Debug, Default)]
pub struct StreamStates {
    /// By the address of the stream's info, which all its windows share. The entry holds the info, so no other stream gets that address.
    streams: HashMap<usize, (Arc<StreamInfo>, ChannelStates)>,
}

impl StreamStates {
    /// The state of a channel. A stream that is new here begins with the state that its info brings along.
    pub fn of(&mut self, stream: &Arc<StreamInfo>, channel: u32) -> &mut ChannelState {
        self.of_stream(stream).of_mut(channel)
    }

    /// The states of all channels of a stream, to be changed.
    pub fn of_stream(&mut self, stream: &Arc<StreamInfo>) -> &mut ChannelStates {
        let begin = || (stream.clone(), stream.channel_states.clone());
        let (_, states) = self.streams.entry(Arc::as_ptr(stream).addr()).or_insert_with(begin);
        states
    }

    /// The states of all channels of a stream.
    #[must_use]
    pub fn all_of(&self, stream: &Arc<StreamInfo>) -> ChannelStates {
        let states = self.streams.get(&Arc::as_ptr(stream).addr()).map(|(_, states)| states);
        states.unwrap_or(&stream.channel_states).clone()
    }

    /// Whether a stream has state here.
    #[must_use]
    pub fn contains(&self, stream: &Arc<StreamInfo>) -> bool {
        self.streams.contains_key(&Arc::as_ptr(stream).addr())
    }

    /// Drops the state of a stream that has ended.
    pub fn end(&mut self, stream: &Arc<StreamInfo>) {
        self.streams.remove(&Arc::as_ptr(stream).addr());
    }

    /// Streams with state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether no stream has state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::publish::smoothing::RawScores;
    use crate::publish::{Smoothing, SmoothingMethod};

    /// The smoothed score of the only label.
    fn smooth(states: &mut StreamStates, stream: &Arc<StreamInfo>, channel: u32, scores: &[f32]) -> Vec<f32> {
        let smoothing = Smoothing { method: SmoothingMethod::Exponential, windows: 3 };
        let labels: Arc<[String]> = ["anger".to_owned()].into();
        let raw = RawScores { segment: Duration::ZERO, labels: &labels, scores };
        smoothing.smooth_channel(states.of(stream, channel), raw)
    }

    #[test]
    fn streams_and_channels_are_smoothed_each_by_itself() {
        let (mut states, one, other) = (StreamStates::default(), Arc::default(), Arc::default());
        assert_eq!(smooth(&mut states, &one, 1, &[1.0]), [1.0]);
        assert_eq!(smooth(&mut states, &one, 0, &[0.0]), [0.0]);
        assert_eq!(smooth(&mut states, &other, 1, &[0.0]), [0.0]);
        assert!((smooth(&mut states, &one, 1, &[0.0])[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_stream_goes_on_with_the_state_that_its_info_brings_along() {
        let (mut states, first) = (StreamStates::default(), Arc::default());
        smooth(&mut states, &first, 0, &[1.0]);
        let channel_states = ChannelStates::new(vec![states.of(&first, 0).clone()]);
        let resumed = Arc::new(StreamInfo { channel_states, ..StreamInfo::default() });
        assert!((smooth(&mut StreamStates::default(), &resumed, 0, &[0.0])[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn silent_windows_change_no_state() {
        let (mut states, stream) = (StreamStates::default(), Arc::default());
        smooth(&mut states, &stream, 0, &[1.0]);
        let before = states.of(&stream, 0).clone();
        assert_eq!(smooth(&mut states, &stream, 0, &[]), [] as [f32; 0]);
        assert_eq!(*states.of(&stream, 0), before);
        assert!((smooth(&mut states, &stream, 0, &[0.0])[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn the_state_of_a_stream_that_has_ended_is_gone() {
        let (mut states, one, other) = (StreamStates::default(), Arc::default(), Arc::default());
        smooth(&mut states, &one, 0, &[1.0]);
        smooth(&mut states, &other, 0, &[1.0]);
        states.end(&one);
        assert_eq!((states.len(), Arc::strong_count(&one)), (1, 1));
        assert_eq!(smooth(&mut states, &one, 0, &[0.0]), [0.0], "it begins afresh");
        assert!(smooth(&mut states, &other, 0, &[0.0])[0] > 0.0, "an open stream keeps its state");
    }
}
