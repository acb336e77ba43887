//! Messages on their way to the producer's queue, with what their acknowledgement settles.
//!
//! Input and output: plain values.

use rdkafka::error::KafkaError;
use rdkafka::message::OwnedHeaders;

use crate::serving::SettledWindow;
use crate::shard::PartitionReport;
use crate::stream::{ChannelState, DeadLetterTicket, Ticket};

/// What an acknowledgement settles.
#[derive(Debug)]
pub enum Settlement {
    /// The window of a Kafka stream.
    Window(SettledWindow),
    /// The ends of streams whose call was summarised.
    StreamEnds(Vec<Ticket>),
    /// A record that was refused.
    DeadLetter(DeadLetterTicket),
    /// Nothing: the event of a gRPC stream.
    Nothing,
}

impl Settlement {
    /// Returns the reports of what is settled.
    pub(super) fn reports(self) -> Vec<PartitionReport> {
        match self {
            Self::Window(SettledWindow { ticket, state }) => {
                vec![PartitionReport::Delivered { ticket, state }]
            }
            Self::StreamEnds(ends) => {
                let delivered =
                    |ticket| PartitionReport::Delivered { ticket, state: ChannelState::default() };
                ends.into_iter().map(delivered).collect()
            }
            Self::DeadLetter(ticket) => vec![PartitionReport::DeadLetterDelivered(ticket)],
            Self::Nothing => Vec::new(),
        }
    }
}

/// What a transaction publishes and settles.
#[derive(Debug)]
pub struct ForTransaction {
    /// `None` for a window without an event.
    pub(super) message: Option<Outgoing>,
    pub(super) settlement: Settlement,
}

/// What a message is, and what was left out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// An event.
    Event,
    /// A dead letter with all that was read.
    DeadLetter,
    /// A dead letter whose value was too large.
    WithoutValue,
    /// A dead letter of which only the origin and the reason are left.
    OriginOnly,
}

/// A message on its way to the producer's queue.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    /// `None` is a null value.
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: OwnedHeaders,
    pub(super) settlement: Box<Settlement>,
    pub(super) content: Content,
    /// Whether it was refused in a batch that was too large, and is sent alone for that reason.
    pub(super) suspect: bool,
}

impl Outgoing {
    /// Returns the same message for another topic.
    #[must_use]
    pub fn to_topic(self, topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..self }
    }

    /// Returns whether no input offset brings the message back: an event of a call.
    pub(super) fn is_of_call(&self) -> bool {
        matches!(*self.settlement, Settlement::Nothing)
    }
}

/// Why a message was not queued.
#[derive(Debug)]
pub enum NotTaken {
    /// The queue is full; the message is returned.
    Full(Box<Outgoing>),
    /// The producer can send nothing any more.
    Failed(KafkaError),
}
