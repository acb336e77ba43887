//! Out-of-domain streams: those whose windows have not resembled the training data for some time.
//!
//! Input: windows behind the model, those of a channel in order, with their channel's state, and the ends of streams. Output: the state, a log line where a
//! channel begins or ceases to be out of domain, and the gauge of the streams that are. Invariants: time is that of the stream; a stream counts once,
//! however many of its channels are out of domain, until it ends. Windows of shadows are not judged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::EventFactory;
use crate::model::Prediction;
use crate::serving::{Recipient, WindowEnvelope};
use crate::stream::{ChannelStates, OutOfDomainState, StreamInfo};
use crate::telemetry::{excerpt, metrics};

/// The streams that are out of domain.
#[derive(Debug)]
pub(super) struct OutOfDomainStreams {
    /// `publish.out_of_domain_after`
    after: Duration,
    /// By the address of the stream's info, which [`super::stream_states::StreamStates`] keeps until the stream ends.
    streams: HashSet<usize>,
}

impl OutOfDomainStreams {
    pub fn new(after: Duration) -> Self {
        Self { after, streams: HashSet::new() }
    }

    /// Judges a window and updates the state of its channel. A window that did not reach the model changes nothing.
    pub fn window(
        &mut self,
        states: &mut ChannelStates,
        envelope: &WindowEnvelope,
        events: &EventFactory,
        prediction: &Prediction,
    ) {
        if prediction.scores.is_empty() || matches!(envelope.recipient, Recipient::Shadow(_)) {
            return;
        }
        let state = &mut states.of_mut(envelope.channel).out_of_domain;
        let before = *state;
        let is_above = |score: f32| events.out_of_domain_above().is_some_and(|threshold| score > threshold);
        let time = envelope.start..envelope.end;
        let above = prediction.out_of_domain.filter(|score| is_above(*score));
        *state = above.map(|_| OutOfDomainState::after_window(before, &time, self.after));
        let is_out = |state: Option<OutOfDomainState>| state.is_some_and(|state| state.is_out);
        match (is_out(before), is_out(*state)) {
            (false, false) => return,
            (true, true) => {}
            (false, true) => tracing::warn!(
                stream_id = %excerpt(&envelope.stream.stream_id),
                channel = envelope.channel,
                at = ?envelope.end,
                score = prediction.out_of_domain,
                "a channel is out of domain: for publish.out_of_domain_after its audio has not resembled the training data of model {}",
                events.model()
            ),
            (true, false) => tracing::info!(
                stream_id = %excerpt(&envelope.stream.stream_id),
                channel = envelope.channel,
                at = ?envelope.end,
                score = prediction.out_of_domain,
                "a channel is no longer out of domain for model {}",
                events.model()
            ),
        }
        let out = states.iter().any(|state| is_out(state.out_of_domain));
        self.count(&envelope.stream, out);
    }

    /// Notes that a stream has ended here.
    pub fn end(&mut self, stream: &Arc<StreamInfo>) {
        self.count(stream, false);
    }

    fn count(&mut self, stream: &Arc<StreamInfo>, is_out: bool) {
        let address = Arc::as_ptr(stream).addr();
        let changed = if is_out { self.streams.insert(address) } else { self.streams.remove(&address) };
        if changed {
            metrics::out_of_domain_streams(self.streams.len());
        }
    }
}
