//! Shadows: models on trial that are run on the windows of the default model.
//!
//! Input: the same windows, as features of the shadow's own front end. Output: for each window whether both models named the same emotion, and
//! events to a topic where one is configured. Invariant: a shadow that is slow or broken costs the streams nothing but CPU time; windows that it
//! has no room for are dropped and counted.

use std::sync::{Arc, OnceLock};

use super::ServedModel;
use crate::telemetry::metrics;

/// A shadow, as the streams of the default model see it.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// The model.
    pub model: Arc<ServedModel>,
    /// The topic of its events, if any.
    pub topic: Option<Arc<str>>,
}

/// The comparison of two models on one window.
#[derive(Debug)]
pub struct Agreement {
    /// The shadow, by name and version.
    shadow: String,
    /// The emotion that the first of the two models named.
    first: OnceLock<String>,
}

impl Agreement {
    /// A window for which neither model has named an emotion yet.
    #[must_use]
    pub fn new(shadow: &ServedModel) -> Arc<Self> {
        let shadow = format!("{}@{}", shadow.contract.name, shadow.contract.version);
        Arc::new(Self { shadow, first: OnceLock::new() })
    }

    /// Records the emotion that one of the two models named; the second one is compared and counted.
    pub fn record(&self, emotion: &str) {
        if let Err(emotion) = self.first.set(emotion.to_owned()) {
            let agreed = self.first.get() == Some(&emotion);
            metrics::shadow_window(&self.shadow, if agreed { "agreed" } else { "disagreed" });
        }
    }

    /// Counts a window that only one of the models was run for.
    pub fn record_missing(&self, outcome: &'static str) {
        metrics::shadow_window(&self.shadow, outcome);
    }
}
