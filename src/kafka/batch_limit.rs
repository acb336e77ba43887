//! The size up to which every topic takes a batch of events.
//!
//! Input: the topics that events, summaries and dead letters are written to. Output: the smallest of their `max.message.bytes`. A batch above it is refused as a
//! whole although each of its records would be taken, and a batch of later records that is on its way already is then written before it.

use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use super::clients::{self, REQUEST_TIMEOUT};
use super::options::Options;

/// The topic's property: the largest batch of records that it takes, in bytes.
const PROPERTY: &str = "max.message.bytes";

/// Returns the largest batch that the output topic, the dead-letter topic and `others` take, in bytes. `None` where the brokers do not tell: they know no such
/// request, or the right to describe the topics' configurations is missing.
pub async fn batch_limit(kafka: &Options, others: &[String]) -> Option<usize> {
    let topics = [&kafka.output_topic, &kafka.dead_letter_topic].into_iter().chain(others);
    let topics: Vec<_> = topics.map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let admin = clients::admin(kafka).ok()?;
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let described = admin.describe_configs(&topics, &options).await.unwrap_or_else(|error| {
        tracing::info!("the size of batches follows no topic's {PROPERTY}, which cannot be read: {error}");
        Vec::new()
    });
    let of_topic = |topic: Result<_, _>| {
        let topic: rdkafka::admin::ConfigResource = topic.ok()?;
        topic.get(PROPERTY)?.value.as_ref()?.parse().ok()
    };
    described.into_iter().filter_map(of_topic).min()
}
