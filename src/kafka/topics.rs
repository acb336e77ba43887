//! The topics that the daemon needs.
//!
//! Input: their names from the configuration. Output: topics that exist and fit together, created where that is allowed. Blocks its task for a few
//! requests to the brokers.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode;

use super::clients::{self, QuietContext, REQUEST_TIMEOUT};
use super::contexts::Unwritten;
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;

/// How often, and how far apart, it is checked whether partitions were added.
const MOST_CHECKS: usize = 100;
const CHECK_PAUSE: Duration = Duration::from_millis(100);
/// How long the progress topic keeps every record, in ms.
const COMPACTION_LAG_MS: &str = "3600000";

/// Ensures that all topics exist and fit, those of `others` (shadows, summaries of calls) included. Creates what is missing where `kafka.create_topics` allows it.
///
/// # Errors
/// Names the topic that is missing or does not fit.
pub async fn ensure_topics(kafka: &Options, others: &[String]) -> Result<(), KafkaFault> {
    let admin = clients::admin(kafka)?;
    let input = ensure_topic(kafka, &admin, &kafka.input_topic, kafka.partitions, false).await?;
    for topic in std::iter::once(&kafka.output_topic).chain(others) {
        ensure_topic(kafka, &admin, topic, input, false).await?;
    }
    ensure_topic(kafka, &admin, &kafka.dead_letter_topic, 1, false).await?;
    let found = ensure_progress(kafka, &admin, input).await?;
    if found > input {
        return Err(other_number(kafka, found, input));
    }
    Ok(())
}

fn other_number(kafka: &Options, found: usize, wanted: usize) -> KafkaFault {
    let (progress, input) = (kafka.progress_topic.clone(), kafka.input_topic.clone());
    KafkaFault::Partitions { progress, found, input, wanted }
}

/// Ensures that the progress topic has at least `wanted` partitions, and returns how many it has. Partitions are added where `kafka.create_topics` allows it:
/// the input has got some.
async fn ensure_progress(
    kafka: &Options,
    admin: &AdminClient<QuietContext>,
    wanted: usize,
) -> Result<usize, KafkaFault> {
    let topic = &kafka.progress_topic;
    let found = ensure_topic(kafka, admin, topic, wanted, true).await?;
    if found >= wanted {
        return Ok(found);
    }
    if !kafka.create_topics {
        return Err(other_number(kafka, found, wanted));
    }
    tracing::info!(topic, found, partitions = wanted, "adding partitions to the progress topic");
    let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
    let grown = admin.create_partitions([&NewPartitions::new(topic, wanted)], &options).await;
    grown.map_err(broker(kafka, format!("add partitions to {topic}")))?;
    // Another daemon may have added them meanwhile, which is an error of this request. The brokers report them a moment later.
    for _ in 0..MOST_CHECKS {
        let found = partitions_of(kafka, admin, topic)?.unwrap_or(0);
        if found >= wanted {
            return Ok(found);
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    Err(other_number(kafka, found, wanted))
}

/// Ensures that the progress topic has at least `wanted` partitions, for a thread without a runtime; blocks it for a few requests.
///
/// # Errors
/// See [`KafkaFault`].
pub(super) fn ensure_progress_partitions(
    kafka: &Options,
    consumer: &BaseConsumer<impl ConsumerContext>,
    wanted: usize,
) -> Result<(), KafkaFault> {
    let topic = &kafka.progress_topic;
    let described = consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT);
    let described = described.map_err(broker(kafka, format!("describe the topic {topic}")))?;
    let found = topic_of(&described, topic).map_err(broker(kafka, format!("describe the topic {topic}")))?;
    if found.is_some_and(|found| found.partitions().len() >= wanted) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async { ensure_progress(kafka, &clients::admin(kafka)?, wanted).await }).map(|_| ())
}

/// Creates the progress topic again, or adds partitions to it, where records were not written, perhaps because it was deleted. A failure is logged: the caller writes
/// the records again later in any case. Blocks its thread for a few requests.
pub(super) fn restore_progress(kafka: &Options, unwritten: &[Unwritten]) {
    use RDKafkaErrorCode as Code;
    let is_missing = |record: &&Unwritten| {
        let code = record.error.rdkafka_error_code();
        // A producer of transactions cannot add the partition of a deleted topic, and tries that until the record's time is over.
        let missing = [
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::UnknownTopicOrPartition,
            Code::MessageTimedOut,
        ];
        record.topic == kafka.progress_topic && code.is_some_and(|code| missing.contains(&code))
    };
    let Some(highest) = unwritten.iter().filter(is_missing).map(|record| record.partition).max() else {
        return;
    };
    let wanted = usize::try_from(highest + 1).unwrap_or(1).max(1);
    let restored =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(KafkaFault::from);
    let restored = restored.and_then(|runtime| {
        runtime.block_on(async { ensure_progress(kafka, &clients::admin(kafka)?, wanted).await })
    });
    if let Err(fault) = restored {
        outage::report(&fault.to_string());
    }
}

/// Returns the number of partitions of `topic`, which is created with `partitions` of them where it is missing.
async fn ensure_topic(
    kafka: &Options,
    admin: &AdminClient<QuietContext>,
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
        // The record of a process that was stopped may hide the one that counts, until the owner of the stream writes the next one. Both are kept meanwhile.
        new = new.set("cleanup.policy", "compact").set("min.compaction.lag.ms", COMPACTION_LAG_MS);
    }
    tracing::info!(topic, partitions, "creating a missing topic");
    let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
    let results = admin.create_topics([&new], &options).await;
    for result in results.map_err(broker(kafka, format!("create the topic {topic}")))? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(KafkaFault::CreateTopic { topic, reason: code.to_string() }),
        }
    }
    Ok(partitions_of(kafka, admin, topic)?.unwrap_or(partitions))
}

/// Returns a topic of the brokers' answer; `None` where it is missing or not ready yet.
///
/// # Errors
/// Where the brokers do not let the daemon see the topic, which is then not missing.
pub(super) fn topic_of<'a>(
    found: &'a Metadata,
    topic: &str,
) -> Result<Option<&'a MetadataTopic>, KafkaError> {
    let Some(found) = found.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(found)),
        Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => Err(KafkaError::MetadataFetch(code)),
        Some(_) => Ok(None),
    }
}

fn partitions_of(
    kafka: &Options,
    admin: &AdminClient<QuietContext>,
    topic: &str,
) -> Result<Option<usize>, KafkaFault> {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(broker(kafka, format!("describe the topic {topic}")))?;
    let found = topic_of(&metadata, topic).map_err(broker(kafka, format!("describe the topic {topic}")))?;
    Ok(found.map(|found| found.partitions().len()).filter(|count| *count > 0))
}
