//! What the stages need before they start: the topics, the number of shards.
//!
//! In: the configuration. Out: each of them, or why it cannot be had. Keeps nothing.

use super::DaemonError;
use crate::config::{self, Config, Role};
use crate::kafka;

/// Nothing where Kafka is off. On a task of its own: the question to the brokers holds its thread.
pub(super) async fn ensure_topics(config: &Config) -> Result<(), DaemonError> {
    let Some(kafka) = config.kafka.clone() else { return Ok(()) };
    let topic = |model: &config::Model| match &model.role {
        Role::Serving => None,
        Role::Shadow { topic } => topic.clone(),
    };
    let shadows: Vec<String> = config.models.iter().filter_map(topic).collect();
    let asked = tokio::spawn(async move { kafka::ensure_topics(&kafka, &shadows).await }).await;
    Ok(asked.map_err(|_| DaemonError::Stage("question for Kafka's topics"))??)
}

/// `limits.shards`, or one a core.
pub(super) fn shard_count(config: &Config) -> usize {
    match config.limits.shards {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        shards => shards,
    }
}
