//! Kafka's clients: their settings, and the context that hands rebalances to the reader instead of acting on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::config;

/// How long a question to the brokers may take.
pub const QUESTION: Duration = Duration::from_secs(10);

/// Why Kafka cannot be used. Ours or the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFault {
    /// A broker does not answer, or says no.
    #[error("{action} on {brokers}: {source}")]
    Broker {
        /// What was tried.
        action: String,
        /// The brokers.
        brokers: String,
        /// Their answer.
        #[source]
        source: Box<KafkaError>,
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
    /// The progress topic is another group's.
    #[error(
        "use the progress topic {topic}: it holds progress of the group {other:?}, not {group:?}; give each group its own kafka.progress_topic"
    )]
    OtherGroup {
        /// The progress topic.
        topic: String,
        /// The other group.
        other: String,
        /// This one.
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
    /// An event, a dead letter or progress was not acknowledged for good.
    #[error("publish: {0}")]
    Publish(String),
    /// The thread could not be started.
    #[error("start the Kafka reader: {0}")]
    Thread(#[from] std::io::Error),
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

/// Gives a broker's error its context.
pub fn broker(kafka: &config::Kafka, action: impl Into<String>) -> impl FnOnce(KafkaError) -> KafkaFault {
    let (action, brokers) = (action.into(), kafka.brokers.clone());
    move |source| KafkaFault::Broker { action, brokers, source: Box::new(source) }
}

/// Settings that all clients share.
#[must_use]
pub fn settings(kafka: &config::Kafka) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &kafka.brokers).set("client.id", "affectd");
    for (key, value) in &kafka.properties {
        settings.set(key, value);
    }
    settings
}

/// A change of the partitions that this daemon reads.
#[derive(Debug)]
pub enum Rebalance {
    /// These come in addition.
    Assign(TopicPartitionList),
    /// These go.
    Revoke(TopicPartitionList),
}

/// Queues rebalances for the reader, who answers them when the partitions' books are in order.
pub struct ReaderContext {
    rebalances: mpsc::Sender<Rebalance>,
    /// Set once the reader has gone: then partitions are given up at once.
    pub closing: AtomicBool,
}

impl ReaderContext {
    /// The context and the other end of its queue.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Rebalance>) {
        // Bounded by the protocol: the group does not send another before this one is answered.
        let (rebalances, inbox) = mpsc::channel();
        (Self { rebalances, closing: AtomicBool::new(false) }, inbox)
    }
}

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        say(&error, reason);
    }
}

/// Logs what is truly wrong.
pub struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        say(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// The end of a partition is an answer, not an error.
fn say(error: &KafkaError, reason: &str) {
    if !matches!(error, KafkaError::PartitionEOF(_) | KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
        tracing::warn!("Kafka: {error}: {reason}");
    }
}

impl ConsumerContext for ReaderContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let done = if assign { Ok(()) } else { consumer.incremental_unassign(partitions) };
            if let Err(error) = done {
                tracing::debug!("gave up partitions while closing: {error}");
            }
            return;
        }
        let partitions = partitions.clone();
        let change = if assign { Rebalance::Assign(partitions) } else { Rebalance::Revoke(partitions) };
        // The reader lives as long as its consumer, but for the closing above.
        let _ = self.rebalances.send(change);
    }
}

/// Sees to it that all topics exist and fit, those of shadows too, creating what is missing where that is allowed.
///
/// # Errors
/// Names the topic that is missing or does not fit.
pub async fn ensure_topics(kafka: &config::Kafka, shadows: &[String]) -> Result<(), KafkaFault> {
    let admin: AdminClient<DefaultClientContext> =
        settings(kafka).create().map_err(broker(kafka, "set up a client"))?;
    let input = ensure_topic(kafka, &admin, &kafka.input_topic, 1, false).await?;
    for topic in std::iter::once(&kafka.output_topic).chain(shadows) {
        ensure_topic(kafka, &admin, topic, input, false).await?;
    }
    ensure_topic(kafka, &admin, &kafka.dead_letter_topic, 1, false).await?;
    let found = ensure_topic(kafka, &admin, &kafka.progress_topic, input, true).await?;
    if found != input {
        let (progress, input_topic) = (kafka.progress_topic.clone(), kafka.input_topic.clone());
        return Err(KafkaFault::Partitions { progress, found, input: input_topic, wanted: input });
    }
    Ok(())
}

/// Partitions of the topic, created with `partitions` of them where it is missing.
async fn ensure_topic(
    kafka: &config::Kafka,
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    partitions: usize,
    compacted: bool,
) -> Result<usize, KafkaFault> {
    if let Some(found) = partitions_of(kafka, admin, topic)? {
        return Ok(found);
    }
    if !kafka.create_topics {
        return Err(KafkaFault::MissingTopic { topic: topic.to_owned(), brokers: kafka.brokers.clone() });
    }
    let mut new = NewTopic::new(topic, i32::try_from(partitions).unwrap_or(1), TopicReplication::Fixed(-1));
    if compacted {
        new = new.set("cleanup.policy", "compact");
    }
    tracing::info!(topic, partitions, "creating a missing topic");
    let results = admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(QUESTION))).await;
    for result in results.map_err(broker(kafka, format!("create the topic {topic}")))? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(KafkaFault::CreateTopic { topic, reason: code.to_string() }),
        }
    }
    Ok(partitions_of(kafka, admin, topic)?.unwrap_or(partitions))
}

fn partitions_of(
    kafka: &config::Kafka,
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
) -> Result<Option<usize>, KafkaFault> {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), QUESTION)
        .map_err(broker(kafka, format!("ask for the topic {topic}")))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    Ok(found.map(|found| found.partitions().len()).filter(|count| *count > 0))
}
