//! The size up to which every topic takes a batch of events.
//!
//! Input: the topics that events, summaries and dead letters are written to. Output: the smallest of their `max.message.bytes`. A batch above it is refused as a
//! whole although each of its records would be taken, and a batch of later records that is on its way already is then written before it.

use std::fmt::Display;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use super::clients::{self, REQUEST_TIMEOUT};
use super::options::Options;

/// The topic's property: the largest batch of records that it takes, in bytes.
const PROPERTY: &str = "max.message.bytes";

/// Returns the largest batch that the output topic, the dead-letter topic and `others` take, in bytes. A topic whose configuration cannot be read, because the
/// right to describe it is missing or the brokers know no such request, sets no bound and is logged; `None` where that is so for all.
pub async fn batch_limit(kafka: &Options, others: &[String]) -> Option<usize> {
    let topics = [&kafka.output_topic, &kafka.dead_letter_topic].into_iter().chain(others);
    let topics: Vec<_> = topics.map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let unread = |error: &dyn Display| {
        tracing::info!(
            "{PROPERTY} of a topic cannot be read and does not bound the size of batches: {error}"
        );
    };
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let admin = clients::admin(kafka).inspect_err(|error| unread(error)).ok()?;
    let described = admin.describe_configs(&topics, &options).await;
    let described = described.inspect_err(|error| unread(error)).ok()?;
    let described = described.into_iter().filter_map(|topic| topic.inspect_err(|error| unread(error)).ok());
    described.filter_map(|topic| topic.get(PROPERTY)?.value.as_ref()?.parse().ok()).min()
}
