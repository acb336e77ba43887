//! Preparation of the stages: the topics of Kafka.
//!
//! Input: the configuration. Output: topics that exist and fit.

use super::DaemonError;
use crate::config::{self, Config, Role};
use crate::kafka;

/// Ensures that all topics exist; does nothing where Kafka is off. It runs in a task of its own, because a request to the brokers blocks its thread.
pub(super) async fn ensure_topics(config: &Config) -> Result<(), DaemonError> {
    let Some(kafka) = config.kafka.clone() else { return Ok(()) };
    let topic = |model: &config::Model| match &model.role {
        Role::Serving => None,
        Role::Shadow { topic } => topic.clone(),
    };
    let shadows: Vec<String> = config.models.iter().filter_map(topic).collect();
    let asked = tokio::spawn(async move { kafka::ensure_topics(&kafka, &shadows).await }).await;
    Ok(asked.map_err(|_| DaemonError::Stage("request for the topics of Kafka"))??)
}
