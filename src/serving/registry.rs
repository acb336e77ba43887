//! The registry of models that new streams may choose from.
//!
//! Input: a name. Output: the model, or the names that there are. A registry is a snapshot, which an exchange of models does not change.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use super::{ProcessorCost, Shadow, Utilization};
use crate::batch::Job;
use crate::model::Contract;
use crate::serving::JobOrigin;
use crate::stream::StreamSetup;
use crate::telemetry::excerpt;

/// A model in service, as its streams see it.
#[derive(Debug, Clone)]
pub struct ServedModel {
    /// Its contract.
    pub contract: Arc<Contract>,
    /// The setup of its streams: windows, features, limits.
    pub setup: StreamSetup,
    /// Identifies the setup: models with the same number have the same one.
    pub setup_number: u64,
    /// Its batcher's queue.
    pub jobs: mpsc::Sender<Job<JobOrigin>>,
    /// The model's share of the shards: permits for chunks that are on their way to a shard or wait there. A source takes one for each chunk,
    /// so that chunks of a slow model leave the inboxes of the shards to the others.
    pub share: Arc<Semaphore>,
    /// Room for windows of streams that are ahead of real time, between their source and the end of the inference: a few batches. A source takes
    /// one permit for each analysed channel of a chunk, so that such streams keep the model busy and delay the others by these windows only.
    pub ahead: Arc<Semaphore>,
    /// The same for windows of backlogs of partitions. It is a room of its own: a partition does not queue for room, and sessions that do would leave it
    /// none.
    pub backlog: Arc<Semaphore>,
    /// Whether no other model serves streams.
    pub is_only: bool,
    /// The load that its streams put on its sessions.
    pub utilization: Arc<Utilization>,
    /// Models on trial that are run on its windows; only the default model has any.
    pub shadows: Vec<Shadow>,
}

/// The models in service, the default one first. Empty once the daemon has drained.
#[derive(Debug, Clone, Default)]
pub struct ModelRegistry {
    models: Vec<Arc<ServedModel>>,
    processor: Arc<ProcessorCost>,
}

/// Receives the current registry.
pub type RegistryReceiver = watch::Receiver<Arc<ModelRegistry>>;

/// A stream requests a model that is not in service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model: {:?} is not served; allowed is {allowed}, or nothing for {default}", excerpt(name))]
pub struct UnknownModel {
    name: String,
    allowed: String,
    default: String,
}

impl ModelRegistry {
    /// A registry whose first model is the default one.
    #[must_use]
    pub fn new(models: Vec<Arc<ServedModel>>, processor: Arc<ProcessorCost>) -> Self {
        Self { models, processor }
    }

    /// All models, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ServedModel>> {
        self.models.iter()
    }

    /// The share of the sessions' time, or of the processor's where that is larger, that open streams of all models take, with
    /// `more` channels of `model` beside them. Models share both.
    #[must_use]
    pub fn utilization_with(&self, model: &ServedModel, more: usize) -> f64 {
        let more = |served: &ServedModel| if served.setup_number == model.setup_number { more } else { 0 };
        let of_sessions = self.iter().map(|served| served.utilization.of_sessions(more(served))).sum();
        let windows = self.iter().map(|served| served.utilization.windows_per_second(more(served))).sum();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.processor.of_cores(windows, cores).max(of_sessions)
    }

    /// The model of that name; the default one where `name` is empty.
    ///
    /// # Errors
    /// [`UnknownModel`], which names the models in service.
    pub fn find(&self, name: &str) -> Result<Arc<ServedModel>, UnknownModel> {
        let found = self.iter().find(|model| name.is_empty() || model.contract.name == name);
        found.cloned().ok_or_else(|| UnknownModel {
            name: name.to_owned(),
            allowed: self.iter().map(|model| model.contract.name.as_str()).collect::<Vec<_>>().join(", "),
            default: self.models.first().map_or_else(String::new, |model| model.contract.name.clone()),
        })
    }
}
