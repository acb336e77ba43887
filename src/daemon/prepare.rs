//! Preparation of the stages: the topics of Kafka.
//!
//! Input: the configuration. Output: topics that exist and fit.

use std::future::Future;
use std::pin::Pin;

use super::DaemonError;
use crate::config::{self, Config, Role};
use crate::kafka;
use crate::stream::Summaries;

/// Ensures that all topics exist; does nothing where Kafka is off. Returns whether they do: `false` where `shutdown` completed first.
///
/// The request runs in a task of its own, because it blocks its thread.
pub(super) async fn topics(
    config: &Config,
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<bool, DaemonError> {
    let Some(kafka) = config.kafka.clone() else { return Ok(true) };
    let topic = |model: &config::Model| match &model.role {
        Role::Serving => None,
        Role::Shadow { topic } => topic.clone(),
    };
    let calls = (config.calls.summaries != Summaries::Off).then(|| kafka.calls_topic.clone());
    let others: Vec<String> = config.models.iter().filter_map(topic).chain(calls).collect();
    let request = tokio::spawn(async move { kafka::ensure_topics(&kafka, &others).await });
    tokio::select! {
        outcome = request => {
            outcome.map_err(|_| DaemonError::Stage("request for the topics of Kafka"))??;
            Ok(true)
        }
        () = shutdown => Ok(false),
    }
}
