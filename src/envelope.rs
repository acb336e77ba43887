//! What travels with a payload: where it came from, and where its answer goes.
//!
//! The payload changes on its way (chunk, window, probabilities, event); this does not. Offsets settle at the end of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use crate::audio::ChannelPolicy;
use crate::batch::Origin;
use crate::evaluation::ClipOrigin;
use crate::proto::RecognizeResponse;
use crate::publish::smoothing::RecentScores;
use crate::serving::Agreement;
use crate::stream::{StreamPosition, Window};

/// What every event of a stream repeats.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// Names the stream.
    pub stream_id: Arc<str>,
    /// Echoed as they came with the stream's first chunk.
    pub attributes: HashMap<String, String>,
    /// The model that the stream asked for; empty for the default one.
    pub model: String,
    /// What is done with its channels; `None` until the configuration has been asked.
    pub channels: Option<ChannelPolicy>,
    /// One for each channel, or none.
    pub channel_names: Vec<String>,
    /// What another reader left for the smoothing of the next window, channel by channel.
    pub recent: Vec<Option<Arc<RecentScores>>>,
}

impl StreamInfo {
    /// The name of a channel that is analysed; empty where it has none.
    #[must_use]
    pub fn channel_name(&self, channel: u32) -> &str {
        self.channel_names.get(channel as usize).map_or("", String::as_str)
    }
}

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
    /// Start of the first window of its stretch.
    pub stretch: Duration,
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
        let Window { channel, index, start, end, partial, segment: stretch, features, .. } = window;
        let completed_at = Instant::now();
        let envelope = Self {
            stream,
            channel,
            index,
            start,
            end,
            partial,
            stretch,
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

/// One assignment of a partition to this daemon. A partition that comes back is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assignment {
    /// The partition.
    pub partition: i32,
    /// Counts assignments.
    pub epoch: u64,
}

/// One window of a Kafka stream, until its event is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Where the stream is read.
    pub assignment: Assignment,
    /// The stream.
    pub stream_id: Arc<str>,
    /// Which life of the stream: the offset of the chunk that opened it, -1 for one resumed.
    pub incarnation: i64,
    /// Channel of the stream.
    pub channel: u32,
    /// Index of the window.
    pub index: u64,
    /// First source sample that the window needs.
    pub needed_from: u64,
}

/// A record that became a dead letter, until that is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTicket {
    /// Where the record was read.
    pub assignment: Assignment,
    /// Its offset.
    pub offset: i64,
    /// The stream that it was read for, if any.
    pub stream_id: Option<Arc<str>>,
}

/// Where a Kafka stream stands between two chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// As in [`Ticket`].
    pub incarnation: i64,
    /// Position, sequence and windows.
    pub place: StreamPosition,
}

/// What the shards and the publisher tell the reader of a partition.
#[derive(Debug)]
pub enum Report {
    /// A window was cut; its answer follows later. Always before the [`Report::Taken`] of its chunk.
    Emitted(Ticket),
    /// A chunk was taken in.
    Taken(Box<Taken>),
    /// A chunk was refused; it becomes a dead letter.
    Refused {
        /// Where it was read.
        assignment: Assignment,
        /// Its offset.
        offset: i64,
        /// The stream.
        stream_id: Arc<str>,
        /// The metric's label.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// A stretch ended by idle time.
    StretchEnded {
        /// Where the stream is read.
        assignment: Assignment,
        /// The stream.
        stream_id: Arc<str>,
        /// Where it stands now.
        standing: Standing,
    },
    /// A window's event is acknowledged.
    Delivered {
        /// The window.
        ticket: Ticket,
        /// What the channel's next window is smoothed with; `None` where smoothing is off.
        recent: Option<Arc<RecentScores>>,
    },
    /// A dead letter is acknowledged.
    DeadLetterDelivered(DeadLetterTicket),
    /// Something of ours failed for good: the daemon stops, and what was not settled is read again.
    Failed(String),
}

impl Report {
    /// The assignment that it is about; `None` for a fault that is about all of them.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment> {
        match self {
            Self::Emitted(ticket) | Self::Delivered { ticket, .. } => Some(ticket.assignment),
            Self::Taken(taken) => Some(taken.assignment),
            Self::Refused { assignment, .. } | Self::StretchEnded { assignment, .. } => Some(*assignment),
            Self::DeadLetterDelivered(ticket) => Some(ticket.assignment),
            Self::Failed(_) => None,
        }
    }
}

/// A chunk that was taken in.
#[derive(Debug)]
pub struct Taken {
    /// Where it was read.
    pub assignment: Assignment,
    /// The stream.
    pub stream_id: Arc<str>,
    /// The chunk's offset.
    pub offset: i64,
    /// Where the stream stood; `None` where the chunk opened it.
    pub before: Option<Standing>,
    /// Where it stands now; `None` where the chunk ended it.
    pub after: Option<Standing>,
    /// Life of the stream and sample behind the chunk's last one.
    pub end: (i64, u64),
    /// What the stream's events repeat.
    pub info: Arc<StreamInfo>,
    /// The stream's format.
    pub format: crate::audio::AudioFormat,
}

/// What the batcher carries for each window.
#[derive(Debug)]
pub enum JobOrigin {
    /// A window of a stream.
    Window(Box<WindowEnvelope>),
    /// A window of a clip under evaluation.
    Clip(ClipOrigin),
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

impl From<ClipOrigin> for JobOrigin {
    fn from(clip: ClipOrigin) -> Self {
        Self::Clip(clip)
    }
}
