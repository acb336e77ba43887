//! What travels with a window through a model's batcher: where it comes from and where its result goes.
//!
//! Input: a window of a stream or of a labelled clip. Output: the same beside the model's prediction. Nothing here changes on the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use super::Agreement;
use crate::batch::{Origin, ReplyOrigin};
use crate::proto::RecognizeResponse;
use crate::stream::{StreamInfo, Ticket};
use crate::window::Window;

/// A window on its way to the model and on to whoever wants its event.
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
    pub captured_at: Option<pbjson_types::Timestamp>,
    /// When the window was complete here.
    pub completed_at: Instant,
    /// Where the event goes.
    pub answer: Answer,
    /// What other models say of the window is compared with its event.
    pub agreements: Vec<Arc<Agreement>>,
}

impl WindowEnvelope {
    /// Parts a window into its features and its envelope.
    #[must_use]
    pub fn seal(
        window: Window,
        stream: Arc<StreamInfo>,
        captured_at: Option<pbjson_types::Timestamp>,
        answer: Answer,
    ) -> (Vec<f32>, Self) {
        let Window { channel, index, start, end, partial, segment, features, .. } = window;
        let completed_at = Instant::now();
        let envelope = Self {
            stream,
            channel,
            index,
            start,
            end,
            partial,
            segment,
            captured_at,
            completed_at,
            answer,
            agreements: Vec::new(),
        };
        (features, envelope)
    }
}

/// Where a window's event goes.
#[derive(Debug)]
pub enum Answer {
    /// Back to a gRPC call (and to Kafka, where the configuration says so).
    Call(CallAnswer),
    /// To Kafka; the ticket then settles.
    Kafka(Ticket),
    /// To a shadow's own topic, or nowhere.
    Shadow(Option<Arc<str>>),
}

/// The way back to a gRPC call. Never full: the credit was taken before the audio was let in.
#[derive(Debug)]
pub struct CallAnswer {
    /// Events and refusals of the call.
    pub replies: mpsc::Sender<CallReply>,
    /// Room for one event, given back when the event has left for the client.
    pub credit: OwnedSemaphorePermit,
}

/// What a gRPC call hears back.
#[derive(Debug)]
pub enum CallReply {
    /// An event, with the room it takes.
    Event(Box<RecognizeResponse>, OwnedSemaphorePermit),
    /// The call is over.
    Refused(Status),
}

/// What the batcher carries for each window.
#[derive(Debug)]
pub enum JobOrigin {
    /// A window of a stream.
    Window(Box<WindowEnvelope>),
    /// A window of a clip under evaluation.
    Clip(ReplyOrigin),
}

impl Origin for JobOrigin {
    fn departed(&self) -> bool {
        match self {
            Self::Window(envelope) => match &envelope.answer {
                Answer::Call(answer) => answer.replies.is_closed(),
                Answer::Kafka(_) | Answer::Shadow(_) => false,
            },
            Self::Clip(clip) => clip.departed(),
        }
    }

    fn is_live(&self) -> bool {
        match self {
            Self::Window(envelope) => !matches!(envelope.answer, Answer::Kafka(_)),
            Self::Clip(clip) => clip.is_live(),
        }
    }

    fn stream(&self) -> u64 {
        match self {
            // Every window of an open stream shares it, and no two streams do.
            Self::Window(envelope) => Arc::as_ptr(&envelope.stream).addr() as u64,
            Self::Clip(clip) => clip.stream(),
        }
    }
}

impl From<ReplyOrigin> for JobOrigin {
    fn from(clip: ReplyOrigin) -> Self {
        Self::Clip(clip)
    }
}
