//! What the stages need before they start: the model, the topics, the number of shards.
//!
//! In: the configuration. Out: each of them, or why it cannot be had. Keeps nothing.

use super::DaemonError;
use crate::config::{self, Config};
use crate::ingest::kafka;
use crate::model::{Model, ModelSource};

/// Loads the configured model, on a thread of its own.
pub(super) async fn load(config: &Config) -> Result<Model, DaemonError> {
    let (source, engine) = (ModelSource::configured(&config.model), config.engine.clone());
    let loaded = tokio::task::spawn_blocking(move || Model::load(source, &engine)).await;
    let model = loaded.map_err(|_| DaemonError::Stage("engine"))??;
    tracing::info!(
        name = model.contract.name,
        version = model.contract.version,
        device = model.device,
        library = %model.library.display(),
        "model loaded"
    );
    Ok(model)
}

/// On a task of its own: the question to the brokers holds its thread.
pub(super) async fn ensure_topics(kafka: config::Kafka) -> Result<(), DaemonError> {
    let asked = tokio::spawn(async move { kafka::ensure_topics(&kafka).await }).await;
    Ok(asked.map_err(|_| DaemonError::Stage("question for Kafka's topics"))??)
}

/// `limits.shards`, or one a core.
pub(super) fn shard_count(config: &Config) -> usize {
    match config.limits.shards {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        shards => shards,
    }
}
