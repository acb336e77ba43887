//! A model on trial: it sees the windows of the default model, and nobody waits for what it says.
//!
//! In: the same windows, as features of its own. Out: for each window whether both models named the same emotion, and events to a topic
//! where one is configured. Invariant: a shadow that is slow or broken costs the streams nothing but its CPU; what it has no room for is
//! dropped and counted.

use std::sync::{Arc, OnceLock};

use super::ServedModel;
use crate::telemetry::metrics;

/// A shadow, as the streams of the default model see it.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// The model.
    pub model: Arc<ServedModel>,
    /// Where its events go.
    pub topic: Option<Arc<str>>,
}

/// One window before two models.
#[derive(Debug)]
pub struct Agreement {
    /// The shadow, by name and version.
    shadow: String,
    /// What the first of the two has said.
    first: OnceLock<String>,
}

impl Agreement {
    /// A window that neither model has answered yet.
    #[must_use]
    pub fn new(shadow: &ServedModel) -> Arc<Self> {
        let shadow = format!("{}@{}", shadow.contract.name, shadow.contract.version);
        Arc::new(Self { shadow, first: OnceLock::new() })
    }

    /// One of the two models names an emotion; the second to do so is counted.
    pub fn says(&self, emotion: &str) {
        if let Err(emotion) = self.first.set(emotion.to_owned()) {
            let agreed = self.first.get() == Some(&emotion);
            metrics::shadow_window(&self.shadow, if agreed { "agreed" } else { "disagreed" });
        }
    }

    /// The shadow will not answer.
    pub fn is_off(&self, outcome: &'static str) {
        metrics::shadow_window(&self.shadow, outcome);
    }
}
