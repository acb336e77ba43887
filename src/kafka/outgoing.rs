//! Messages on their way to the producer's queue, with what their acknowledgement settles.
//!
//! Input and output: plain values.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// What several messages settle together: the last one to be acknowledged does.
    Joint(Arc<JointSettlement>),
}

/// What several messages settle together.
#[derive(Debug)]
pub struct JointSettlement {
    /// Messages that are not acknowledged yet.
    left: AtomicUsize,
    settlement: Mutex<Option<Settlement>>,
}

impl Settlement {
    /// Returns the settlement of each of `count` messages.
    pub(super) fn joint(self, count: usize) -> Vec<Self> {
        if count == 1 {
            return vec![self];
        }
        if matches!(self, Self::Nothing) {
            return std::iter::repeat_with(|| Self::Nothing).take(count).collect();
        }
        let settlement = Mutex::new(Some(self));
        let joint = Arc::new(JointSettlement { left: AtomicUsize::new(count), settlement });
        std::iter::repeat_with(|| Self::Joint(joint.clone())).take(count).collect()
    }

    /// Returns whether no offset depends on the message.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::StreamEnds(ends) => ends.is_empty(),
            Self::Nothing => true,
            Self::Window(_) | Self::DeadLetter(_) | Self::Joint(_) => false,
        }
    }

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
            Self::Joint(joint) if joint.left.fetch_sub(1, Ordering::AcqRel) == 1 => {
                let settlement = joint.settlement.lock().unwrap_or_else(PoisonError::into_inner).take();
                settlement.map_or_else(Vec::new, Self::reports)
            }
            Self::Joint(_) => Vec::new(),
        }
    }
}

/// What a transaction publishes and settles.
#[derive(Debug)]
pub struct ForTransaction {
    /// None for a window without an event; several for one with alerts.
    pub(super) messages: Vec<Outgoing>,
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

    /// Returns the same message, whose acknowledgement settles something.
    #[must_use]
    pub fn settling(self, settlement: Settlement) -> Self {
        Self { settlement: Box::new(settlement), ..self }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Assignment;

    #[test]
    fn the_last_of_several_messages_settles_what_they_settle_together() {
        let assignment = Assignment { partition: 0, number: 1 };
        let ticket = DeadLetterTicket { assignment, offset: 7, stream_id: None };
        let mut parts = Settlement::DeadLetter(ticket).joint(3);
        assert!(parts.pop().unwrap().reports().is_empty());
        // Dropped without an acknowledgement: nothing settles.
        let unacknowledged = parts.pop().unwrap();
        assert!(parts.pop().unwrap().reports().is_empty());
        assert_eq!(unacknowledged.reports().len(), 1);
        assert!(Settlement::Nothing.joint(2).into_iter().all(|part| part.is_nothing()));
    }
}
