//! The topics that the daemon needs.
//!
//! Input: their names from the configuration. Output: topics that exist and fit together, created where that is allowed. Blocks its task for a few
//! requests to the brokers.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;

use super::clients::{self, QuietContext, REQUEST_TIMEOUT};
use super::fault::{KafkaFault, broker};
use super::options::Options;

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
    let found = ensure_topic(kafka, &admin, &kafka.progress_topic, input, true).await?;
    if found != input {
        let (progress, input_topic) = (kafka.progress_topic.clone(), kafka.input_topic.clone());
        return Err(KafkaFault::Partitions { progress, found, input: input_topic, wanted: input });
    }
    Ok(())
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

fn partitions_of(
    kafka: &Options,
    admin: &AdminClient<QuietContext>,
    topic: &str,
) -> Result<Option<usize>, KafkaFault> {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(broker(kafka, format!("describe the topic {topic}")))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    Ok(found.map(|found| found.partitions().len()).filter(|count| *count > 0))
}
