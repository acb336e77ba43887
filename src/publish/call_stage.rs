//! The stage that summarises calls and raises their alerts, behind the decision about each window.
//!
//! Input: windows with their events, and the marks at the beginnings and ends of streams. Output: alerts, and the summary of each call that has
//! ended, to the store, the webhook and the sinks. Invariant: never waits: a summary that finds a sink full is tried again with the next tick.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::live::LiveTap;
use crate::calls::alerts::{AlertEvaluator, RAISED, Seen};
use crate::calls::{
    CallKey, CallStore, EndedCall, EndedStream, OpenCalls, Options, Valences, count_window, summarise,
};
use crate::proto::{Alert, EmotionEvent};
use crate::serving::{CallMarker, EventSender, Recipient, SinkEvent, SinkMessage, StreamEnd, WindowEnvelope};
use crate::stream::{ChannelStates, StreamInfo};
use crate::telemetry::metrics;
use crate::webhook::WebhookSender;
use crate::window::milliseconds;

/// How soon a summary that found a sink full is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// Messages that may wait for a sink before further alerts of calls that cannot be resumed are dropped.
const MOST_WAITING: usize = 10_000;

/// Where summaries and alerts go.
#[derive(Debug, Clone)]
pub struct CallOutput {
    /// `[calls]`
    pub options: Options,
    /// Held for gRPC and HTTP.
    pub store: CallStore,
    /// The sink of the topic; `None` where Kafka is off.
    pub sink: Option<EventSender>,
    /// The rules of alerts.
    pub alerts: AlertEvaluator,
    /// Observers of alerts and of the ends of calls.
    pub live: LiveTap,
    /// The webhook of alerts; `None` where it is off.
    pub webhook: Option<WebhookSender>,
}

/// The calls that are open, and the summaries and alerts that wait for a sink.
#[derive(Debug)]
pub(super) struct CallStage {
    output: CallOutput,
    valences: Valences,
    open: OpenCalls,
    waiting: VecDeque<SinkEvent>,
    /// The model of the last stream that began or ended, for calls without an analysed window.
    model: String,
}

impl CallStage {
    pub fn new(output: CallOutput) -> Self {
        let (valences, open) = (Valences::new(&output.options), OpenCalls::new(output.options.linger));
        Self { output, valences, open, waiting: VecDeque::new(), model: String::new() }
    }

    /// Adds a window to the state of its channel. Returns the alerts that it raises or clears; the caller passes them on to a sink.
    pub fn count(
        &self,
        states: &mut ChannelStates,
        envelope: &WindowEnvelope,
        event: Option<&EmotionEvent>,
    ) -> Vec<Arc<Alert>> {
        count_window(states.of_mut(envelope.channel), envelope, event, &self.valences);
        if matches!(envelope.recipient, Recipient::Shadow(_)) {
            return Vec::new();
        }
        let Some(seen) = Seen::of(envelope, event) else { return Vec::new() };
        let alerts = self.output.alerts.window(states, &seen);
        self.announce(&alerts, &envelope.stream);
        alerts
    }

    /// Passes alerts to all but the sinks: they may be missed there, and delay nothing.
    fn announce(&self, alerts: &[Arc<Alert>], stream: &Arc<StreamInfo>) {
        for alert in alerts {
            if alert.state == RAISED {
                metrics::alert(&alert.rule);
            }
            let Alert { rule, call_id, state, channel_name, value, .. } = alert.as_ref();
            tracing::debug!(rule, call_id, channel = channel_name, value, "alert {state}");
            self.output.store.alerts().add(alert);
            self.output.live.alert(stream, alert);
            if let Some(webhook) = &self.output.webhook {
                webhook.send(alert.clone());
            }
        }
    }

    /// Publishes alerts on which no offset depends.
    pub fn publish_alerts(&mut self, alerts: Vec<Arc<Alert>>) {
        if alerts.is_empty() || self.output.sink.is_none() {
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            tracing::error!(alerts = alerts.len(), "alerts of calls are lost: Kafka takes none");
            return;
        }
        self.waiting.push_back(SinkEvent { alerts, ..SinkEvent::unsettled(SinkMessage::Nothing) });
        self.send_waiting();
    }

    /// Notes the beginning or the end of a stream. `states` are those of its channels.
    pub fn mark(&mut self, marker: CallMarker, states: &ChannelStates, model: &str) {
        model.clone_into(&mut self.model);
        let CallMarker { stream, end } = marker;
        if stream.call.is_none() {
            return;
        }
        let key = CallKey::of(&stream);
        match end {
            None => self.open.stream_began(&key, &stream),
            Some(end) => {
                let StreamEnd { duration, holes, lost, ticket } = end;
                let mut states = states.clone();
                let mut alerts = self.output.alerts.finish(&mut states, &stream, milliseconds(duration));
                self.announce(&alerts, &stream);
                if ticket.is_none() {
                    self.publish_alerts(std::mem::take(&mut alerts));
                }
                let ended =
                    EndedStream { info: stream, states, duration, holes, lost, ticket, alerts, follows: 0 };
                self.open.stream_ended(&key, ended, Instant::now());
            }
        }
    }

    /// Notes that a stream goes on with another reader.
    pub fn leave(&mut self, stream: &Arc<StreamInfo>) {
        if stream.call.is_some() {
            self.open.stream_left(&CallKey::of(stream), stream, Instant::now());
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
            self.output.store.add(call.key.clone(), &summary);
            self.output.live.call_ended(&call.key);
            let (mut tickets, mut alerts) = (Vec::new(), Vec::new());
            for stream in call.streams {
                tickets.extend(stream.ticket);
                alerts.extend(stream.alerts);
            }
            let message = SinkMessage::Call(summary, tickets);
            self.waiting.push_back(SinkEvent { alerts, ..SinkEvent::unsettled(message) });
        }
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        let Some(sink) = &self.output.sink else { return self.waiting.clear() };
        while !self.waiting.is_empty() {
            if sink.is_closed() {
                return self.waiting.clear();
            }
            let Some(room) = sink.try_reserve() else { return };
            if let Some(event) = self.waiting.pop_front() {
                room.send(event);
            }
        }
    }
}
