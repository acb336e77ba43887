//! The stage that summarises calls, behind the decision about each window.
//!
//! Input: windows with their events, and the marks at the beginnings and ends of streams. Output: the summary of each call that has ended, to
//! the store and to the sinks. Invariant: never waits: a summary that finds a sink full is tried again with the next tick.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::calls::{
    CallStore, EndedCall, EndedStream, OpenCalls, Options, Valences, count_window, summarise,
};
use crate::proto::EmotionEvent;
use crate::serving::{CallMarker, EventSender, SinkEvent, SinkMessage, WindowEnvelope};
use crate::stream::{ChannelState, ChannelStates, StreamInfo};

/// How soon a summary that found a sink full is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Where summaries go.
#[derive(Debug, Clone)]
pub struct CallOutput {
    /// `[calls]`
    pub options: Options,
    /// Held for gRPC and HTTP.
    pub store: CallStore,
    /// The sink of the topic; `None` where Kafka is off.
    pub sink: Option<EventSender>,
}

/// The calls that are open, and the summaries that wait for a sink.
#[derive(Debug)]
pub(super) struct CallStage {
    output: CallOutput,
    valences: Valences,
    open: OpenCalls,
    waiting: VecDeque<SinkMessage>,
    /// The model of the last stream that began or ended, for calls without an analysed window.
    model: String,
}

impl CallStage {
    pub fn new(output: CallOutput) -> Self {
        let (valences, open) = (Valences::new(&output.options), OpenCalls::new(output.options.linger));
        Self { output, valences, open, waiting: VecDeque::new(), model: String::new() }
    }

    /// Adds a window to the state of its channel.
    pub fn count(&self, state: &mut ChannelState, envelope: &WindowEnvelope, event: Option<&EmotionEvent>) {
        count_window(state, envelope, event, &self.valences);
    }

    /// Notes the beginning or the end of a stream. `states` are those of its channels.
    pub fn mark(&mut self, marker: CallMarker, states: &ChannelStates, model: &str) {
        model.clone_into(&mut self.model);
        let CallMarker { stream, end } = marker;
        let Some(call) = stream.call.clone() else { return };
        match end {
            None => self.open.stream_began(&call.call_id, &stream.stream_id),
            Some(end) => {
                let (states, duration, ticket) = (states.clone(), end.duration, end.ticket);
                let ended = EndedStream { info: stream, states, duration, ticket, follows: 0 };
                self.open.stream_ended(&call.call_id, ended, Instant::now());
            }
        }
    }

    /// Notes that a stream goes on with another reader.
    pub fn leave(&mut self, stream: &StreamInfo) {
        if let Some(call) = &stream.call {
            self.open.stream_left(&call.call_id, &stream.stream_id, Instant::now());
        }
    }

    /// Waits until a call ends or a waiting summary is to be tried again. Cancel safe.
    pub async fn due(&self) {
        let at = match self.open.next_end() {
            _ if !self.waiting.is_empty() => Instant::now() + RETRY,
            Some(at) => at,
            None => return std::future::pending().await,
        };
        tokio::time::sleep_until(at.into()).await;
    }

    /// Publishes the summaries of calls that have ended.
    pub fn publish_ended(&mut self) {
        let ended = self.open.take_ended(Instant::now());
        self.publish(ended);
    }

    /// Publishes the summaries of all calls without an open stream. No stream will begin any more.
    pub async fn finish(&mut self) {
        let ended = self.open.take_rest();
        self.publish(ended);
        while !self.waiting.is_empty() {
            tokio::time::sleep(RETRY).await;
            self.send_waiting();
        }
    }

    fn publish(&mut self, ended: Vec<EndedCall>) {
        for call in ended {
            let summary = Arc::new(summarise(&call, &self.model, &self.output.options));
            tracing::debug!(call_id = summary.call_id, streams = call.streams.len(), "a call has ended");
            self.output.store.add(&summary);
            let tickets = call.streams.into_iter().filter_map(|stream| stream.ticket).collect();
            self.waiting.push_back(SinkMessage::Call(summary, tickets));
        }
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        let Some(sink) = &self.output.sink else { return self.waiting.clear() };
        while let Some(message) = self.waiting.front() {
            if sink.is_closed() {
                return self.waiting.clear();
            }
            let Some(room) = sink.try_reserve() else { return };
            room.send(SinkEvent { message: message.clone(), settles: None, failure: None });
            self.waiting.pop_front();
        }
    }
}
