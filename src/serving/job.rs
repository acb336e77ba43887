//! The context that travels with a window through a model's batcher: its stream, its position, and the recipients of its event.
//!
//! Input: a window of a stream or of a labelled clip, or the end of a stream. Output: the same beside the model's prediction. The batcher
//! passes it on unchanged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Agreement, SinkPermit};
use crate::batch::{Origin, ReplyOrigin};
use crate::model::EngineError;
use crate::proto::EmotionEvent;
use crate::stream::{StreamInfo, Ticket};
use crate::window::{Activity, Window};

/// A window on its way through the model to the recipients of its event.
#[derive(Debug)]
pub struct WindowEnvelope {
    /// The stream it belongs to.
    pub stream: Arc<StreamInfo>,
    /// Channel of the stream.
    pub channel: u32,
    /// Index of the window.
    pub index: u64,
    /// Start, from the stream's start.
    pub start: Duration,
    /// End, from the stream's start.
    pub end: Duration,
    /// The shorter last window.
    pub partial: bool,
    /// Start of the first window of its segment.
    pub segment: Duration,
    /// When the sender captured the chunk that completed the window.
    pub captured_at: Option<crate::proto::Timestamp>,
    /// When the window was complete here.
    pub completed_at: Instant,
    /// The recipient of the event.
    pub recipient: Recipient,
    /// Room in the stream's sinks, in the order of [`super::StreamSinks::of`].
    pub sinks: Vec<SinkPermit>,
    /// Comparisons with the predictions of shadows.
    pub agreements: Vec<Arc<Agreement>>,
    /// What was measured for the summary of the stream's call.
    pub activity: Option<Box<Activity>>,
    /// The window's part of the room for streams that are ahead of real time or for backlogs, released once the model was run.
    pub ahead: Option<OwnedSemaphorePermit>,
}

impl WindowEnvelope {
    /// Splits a window into its features and its envelope.
    #[must_use]
    pub fn seal(
        window: Window,
        stream: Arc<StreamInfo>,
        captured_at: Option<crate::proto::Timestamp>,
        recipient: Recipient,
    ) -> (Vec<f32>, Self) {
        let Window { channel, index, start, end, partial, segment, features, activity, .. } = window;
        let envelope = Self {
            stream,
            channel,
            index,
            start,
            end,
            partial,
            segment,
            captured_at,
            completed_at: Instant::now(),
            recipient,
            sinks: Vec::new(),
            agreements: Vec::new(),
            activity,
            ahead: None,
        };
        (features, envelope)
    }
}

/// The recipient of a window's event, besides the stream's sinks.
#[derive(Debug)]
pub enum Recipient {
    /// The call that carries the stream.
    Call(CallRecipient),
    /// The partition that the stream was read from: the ticket settles when the event is delivered.
    Partition(Ticket),
    /// A shadow's own topic, or none.
    Shadow(Option<Arc<str>>),
    /// None: the window only counts in the summary of its call. The ticket of a stream of a partition settles without an event.
    Unpublished(Option<Ticket>),
}

/// The replies of a call. Their queue is never full: the credit was acquired before the audio was accepted.
#[derive(Debug)]
pub struct CallRecipient {
    /// Events of the call.
    pub replies: mpsc::Sender<CallReply>,
    /// Room for one event, released when the event has left for the client.
    pub credit: OwnedSemaphorePermit,
}

/// A message to a call. Each transport converts it to its own protocol.
#[derive(Debug)]
pub enum CallReply {
    /// An event, with the room that it takes.
    Event(Arc<EmotionEvent>, OwnedSemaphorePermit),
    /// The model failed on a window of the stream, which ends the call.
    Failed {
        /// Index of the window.
        index: u64,
        /// The engine's error; boxed, because a channel of replies reserves room for 32 of the largest ones.
        source: Box<EngineError>,
    },
}

/// What the batcher carries for each job.
#[derive(Debug)]
pub enum JobOrigin {
    /// A window of a stream.
    Window(Box<WindowEnvelope>),
    /// The beginning or the end of a stream of a call: before its first window, or between its last one and the end marker.
    CallStream(Box<CallMarker>),
    /// Follows the last window of a stream, so that the stages behind the model drop the stream's state exactly there.
    StreamEnd(Arc<StreamInfo>),
    /// A window of a clip under evaluation.
    Clip(ReplyOrigin),
}

/// The beginning or the end of a stream of a call.
#[derive(Debug)]
pub struct CallMarker {
    /// The stream.
    pub stream: Arc<StreamInfo>,
    /// The end; `None` at the beginning.
    pub end: Option<StreamEnd>,
}

/// The end of a stream of a call.
#[derive(Debug)]
pub struct StreamEnd {
    /// The length of the stream.
    pub duration: Duration,
    /// Places where audio is missing between its chunks; 0 where its transport counts them.
    pub holes: u64,
    /// Length of the missing audio.
    pub lost: Duration,
    /// Settles once the summary of the call is delivered; `None` for the stream of a session.
    pub ticket: Option<Ticket>,
}

impl JobOrigin {
    /// Whether the job belongs to this open stream.
    #[must_use]
    pub fn is_of(&self, stream: &Arc<StreamInfo>) -> bool {
        match self {
            Self::Window(envelope) => Arc::ptr_eq(&envelope.stream, stream),
            Self::CallStream(marker) => Arc::ptr_eq(&marker.stream, stream),
            Self::StreamEnd(ended) => Arc::ptr_eq(ended, stream),
            Self::Clip(_) => false,
        }
    }
}

impl Origin for JobOrigin {
    fn departed(&self) -> bool {
        match self {
            Self::Window(envelope) => match &envelope.recipient {
                Recipient::Call(call) => call.replies.is_closed(),
                Recipient::Partition(_) | Recipient::Shadow(_) | Recipient::Unpublished(_) => false,
            },
            Self::CallStream(_) | Self::StreamEnd(_) => false,
            Self::Clip(clip) => clip.departed(),
        }
    }

    fn is_live(&self) -> bool {
        match self {
            // A window of a partition has a ticket, which must settle.
            Self::Window(envelope) => {
                !matches!(envelope.recipient, Recipient::Partition(_) | Recipient::Unpublished(Some(_)))
            }
            Self::CallStream(_) | Self::StreamEnd(_) => false,
            Self::Clip(clip) => clip.is_live(),
        }
    }

    fn stream(&self) -> u64 {
        match self {
            // All windows of an open stream share its info, and no two open streams do.
            Self::Window(envelope) => Arc::as_ptr(&envelope.stream).addr() as u64,
            Self::CallStream(marker) => Arc::as_ptr(&marker.stream).addr() as u64,
            Self::StreamEnd(stream) => Arc::as_ptr(stream).addr() as u64,
            Self::Clip(clip) => clip.stream(),
        }
    }
}

impl From<ReplyOrigin> for JobOrigin {
    fn from(clip: ReplyOrigin) -> Self {
        Self::Clip(clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Assignment;

    fn window_to(recipient: Recipient) -> JobOrigin {
        let window = Window {
            channel: 0,
            index: 0,
            start: Duration::ZERO,
            end: Duration::from_secs(3),
            partial: false,
            silent: true,
            segment: Duration::ZERO,
            needed_from: 0,
            activity: None,
            features: Vec::new(),
        };
        let (_, envelope) = WindowEnvelope::seal(window, Arc::new(StreamInfo::default()), None, recipient);
        JobOrigin::Window(Box::new(envelope))
    }

    /// A window with a ticket that is dropped would keep the offset of its partition from being committed.
    #[test]
    fn a_window_of_a_partition_is_never_too_old() {
        let assignment = Assignment { partition: 0, number: 1 };
        let ticket =
            Ticket { assignment, stream_id: "call".into(), epoch: 0, channel: 0, index: 0, needed_from: 0 };
        assert!(!window_to(Recipient::Partition(ticket.clone())).is_live());
        assert!(!window_to(Recipient::Unpublished(Some(ticket))).is_live());
        assert!(window_to(Recipient::Unpublished(None)).is_live());
    }
}
