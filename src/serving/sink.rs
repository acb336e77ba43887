//! Sinks: consumers of events besides the reply to the stream's own call, each with one task and one bounded queue.
//!
//! Input: room that a shard reserves for a window before it submits the window. Output: the window's event in the sink's queue, without waiting.
//! Invariants: the publish stage never waits for a sink; a full sink delays only the streams that feed it. To add a sink, write its task over an
//! [`EventReceiver`] and list its [`EventSender`] in [`StreamSinks`] where the daemon is composed.
//!
//! The room is a permit of the queue itself, reserved for each window when it is cut: an upper bound that a source reserves for each chunk
//! would hold back many times the room that the windows need.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Recipient;
use crate::proto::{Alert, CallSummary, EmotionEvent};
use crate::stream::{ChannelState, Ticket};

/// An event on its way to a sink.
#[derive(Debug)]
pub struct SinkEvent {
    /// What is published.
    pub message: SinkMessage,
    /// The window that settles once the sink has delivered the event; `None` where no offset depends on it.
    pub settles: Option<SettledWindow>,
    /// Why the window has no emotion, where the model failed on it.
    pub failure: Option<String>,
    /// Alerts that the window, or the end of the call, has raised or cleared. Nothing settles before they are delivered too.
    pub alerts: Vec<Arc<Alert>>,
}

impl SinkEvent {
    /// Returns a message that settles nothing.
    #[must_use]
    pub fn unsettled(message: SinkMessage) -> Self {
        Self { message, settles: None, failure: None, alerts: Vec::new() }
    }
}

/// What a sink publishes.
#[derive(Debug, Clone)]
pub enum SinkMessage {
    /// The event of a window.
    Event(Arc<EmotionEvent>),
    /// The summary of a call, with the ends of its streams, which settle once it is delivered.
    Call(Arc<CallSummary>, Vec<Ticket>),
    /// An alert that the webhook did not accept, and why.
    UndeliveredAlert(Arc<Alert>, String),
    /// Nothing: a window without an event, which settles at once.
    Nothing,
}

/// A window of a partition whose event is delivered.
#[derive(Debug)]
pub struct SettledWindow {
    /// The window.
    pub ticket: Ticket,
    /// The state that the stages behind the model had for the channel after this window.
    pub state: ChannelState,
}

/// Room for one event in a sink's queue.
pub type SinkPermit = mpsc::OwnedPermit<SinkEvent>;

/// The receiving side of a sink's queue.
pub type EventReceiver = mpsc::Receiver<SinkEvent>;

/// The sending side of a sink's queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventSender(pub(crate) mpsc::Sender<SinkEvent>);

impl EventSender {
    /// A sink's queue with room for `room` events.
    #[must_use]
    pub fn channel(room: usize) -> (Self, EventReceiver) {
        let (sender, receiver) = mpsc::channel(room);
        (Self(sender), receiver)
    }

    /// Reserves room for one event; `None` where the queue is full or its sink has ended.
    #[must_use]
    pub fn try_reserve(&self) -> Option<SinkPermit> {
        self.0.clone().try_reserve_owned().ok()
    }

    /// Whether the sink has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends an event for which no room was reserved.
    ///
    /// # Errors
    /// A full queue, or a sink that has ended; the event is dropped.
    pub fn try_send(&self, event: SinkEvent) -> Result<(), TrySendError<()>> {
        self.0.try_send(event).map_err(|error| match error {
            TrySendError::Full(_) => TrySendError::Full(()),
            TrySendError::Closed(_) => TrySendError::Closed(()),
        })
    }
}

/// The sinks that streams feed, by their source.
#[derive(Debug, Clone, Default)]
pub struct StreamSinks {
    /// Sinks of streams of calls, beside the reply.
    pub calls: Vec<EventSender>,
    /// Sinks of streams of partitions. The delivery by the first one settles the window.
    pub partitions: Vec<EventSender>,
}

impl StreamSinks {
    /// The sinks that need room for a window of this recipient.
    #[must_use]
    pub fn of(&self, recipient: &Recipient) -> &[EventSender] {
        match recipient {
            Recipient::Call(_) => &self.calls,
            Recipient::Partition(_) => &self.partitions,
            // The first sink settles the window.
            Recipient::Unpublished(Some(_)) => self.partitions.get(..1).unwrap_or_default(),
            Recipient::Unpublished(None) | Recipient::Shadow(_) => &[],
        }
    }
}
