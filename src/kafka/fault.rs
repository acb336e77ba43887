//! Why Kafka cannot be used any further.
//!
//! Input: errors of librdkafka and of stages that report to the reader, with what was being done. Output: one error that names the thing, its value
//! and what to do. Invariant: bad records of a sender are never faults; they are [`super::BadRecord`] and become dead letters.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::options::Options;
use super::outage;
use super::secrets;

/// A failure that stops the reader. Nothing unsettled was committed, so a restart reads it again.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFault {
    /// A broker does not answer, or refuses a request.
    #[error("{action} on {brokers}: {source}")]
    Broker {
        /// What was requested.
        action: String,
        /// The brokers.
        brokers: String,
        /// Their answer.
        #[source]
        source: Box<KafkaError>,
    },
    /// The brokers stopped answering while the progress topic was read.
    #[error("read progress from {topic}[{partition}]: no answer for {seconds} s")]
    NoAnswer {
        /// The progress topic.
        topic: String,
        /// A partition whose end was not reached.
        partition: i32,
        /// How long nothing came.
        seconds: u64,
    },
    /// A topic is missing and may not be created.
    #[error(
        "find the topic {topic} on {brokers}: it is missing (create it, or set kafka.create_topics = true)"
    )]
    MissingTopic {
        /// The topic.
        topic: String,
        /// The brokers.
        brokers: String,
    },
    /// A topic could not be created.
    #[error("create the topic {topic}: {reason}")]
    CreateTopic {
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
    },
    /// The progress topic does not match the input.
    #[error(
        "use {progress} with {found} partitions: {input} has {wanted}, and both must have the same number"
    )]
    Partitions {
        /// The progress topic.
        progress: String,
        /// Its partitions.
        found: usize,
        /// The input topic.
        input: String,
        /// Its partitions.
        wanted: usize,
    },
    /// A stream's progress belongs to no offset that the group has committed.
    #[error(transparent)]
    LostProgress(Box<LostProgress>),
    /// The progress topic lacks records that existed when the offset was committed.
    #[error(
        "read progress from {topic}[{partition}]: {missing} streams that were open when offset {committed} was committed have no record \
         (was the topic deleted?); set kafka.on_lost_progress = \"restart\" to begin such streams anew"
    )]
    MissingProgress {
        /// The progress topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Streams without a record.
        missing: usize,
        /// The offset that the group has committed.
        committed: String,
    },
    /// Records of open streams are gone.
    #[error(
        "read {topic}[{partition}] from offset {committed}: {why}, the first record is {first}, and {streams} streams were open at that offset; \
         set kafka.on_lost_progress = \"restart\" to begin such streams anew"
    )]
    RecordsGone {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that the group has committed.
        committed: i64,
        /// The first record that is left.
        first: i64,
        /// Why.
        why: &'static str,
        /// Streams that were open.
        streams: usize,
    },
    /// The progress topic is another group's.
    #[error(
        "use the progress topic {topic}: it holds progress of the group {other:?}, not {group:?}; give each group its own kafka.progress_topic"
    )]
    OtherGroup {
        /// The progress topic.
        topic: String,
        /// The other group.
        other: String,
        /// This group.
        group: String,
    },
    /// A record in the progress topic cannot be read.
    #[error("read progress of stream {stream_id:?} in {topic}[{partition}]: {source}")]
    Progress {
        /// The stream.
        stream_id: String,
        /// The progress topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record was given to a producer and not acknowledged for good.
    #[error("publish to {topic}[{partition}]: not acknowledged: {source}")]
    NotAcknowledged {
        /// The topic.
        topic: String,
        /// The partition; -1 where none was chosen yet.
        partition: i32,
        /// Why.
        #[source]
        source: Box<KafkaError>,
    },
    /// The consumer cannot go on.
    #[error("read {topic}: the consumer failed for good: {code}: {reason}")]
    Consumer {
        /// The input topic.
        topic: String,
        /// librdkafka's code.
        code: RDKafkaErrorCode,
        /// librdkafka's text.
        reason: String,
    },
    /// A record came that no partition's own queue held. Reading on would break the order of its partition.
    #[error("read {topic}[{partition}]: record {offset} came outside the queue of its partition")]
    OutsideQueue {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// A stage that the reader depends on failed.
    #[error(transparent)]
    Stage(Box<dyn std::error::Error + Send + Sync>),
    /// A thread ended that the reader needs.
    #[error("keep the thread {name} running: it stopped by itself")]
    ThreadEnded {
        /// The thread.
        name: &'static str,
    },
    /// A thread could not be started.
    #[error("start the Kafka reader: {0}")]
    Thread(#[from] std::io::Error),
}

impl KafkaFault {
    /// Returns whether a new consumer may be able to join the group later although librdkafka has given this one up, which it does with the consumer protocol
    /// (KIP-848): another member has its `kafka.instance_id`, the group is full, or a right is missing.
    pub(super) fn may_join_later(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let codes = [Code::UnreleasedInstanceId, Code::GroupMaxSizeReached, Code::GroupAuthorizationFailed];
        matches!(self, Self::Consumer { code, .. } if codes.contains(code))
    }

    /// Returns whether the same request may succeed later, as where the brokers are away.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Broker { source, .. } | Self::NotAcknowledged { source, .. } => outage::is_passing(source),
            Self::NoAnswer { .. } => true,
            _ => false,
        }
    }
}

/// A stream whose progress belongs to no offset that the group has committed.
#[derive(Debug, thiserror::Error)]
#[error(
    "go on with stream {stream_id:?} in {topic}[{partition}]: its progress belongs to offset {known}, but group {group} has \
     committed {committed} (offsets were reset?); set kafka.on_lost_progress = \"restart\" to begin such streams anew"
)]
pub struct LostProgress {
    /// The stream.
    pub stream_id: String,
    /// The input topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The group.
    pub group: String,
    /// The offset that the progress belongs to.
    pub known: String,
    /// What the group has committed.
    pub committed: String,
}

/// Returns what adds its context to an error of librdkafka.
pub fn broker(kafka: &Options, action: impl Into<String>) -> impl FnOnce(KafkaError) -> KafkaFault {
    let (action, brokers) = (action.into(), kafka.brokers.clone());
    move |source| KafkaFault::Broker { action, brokers, source: Box::new(secrets::masked(source)) }
}
