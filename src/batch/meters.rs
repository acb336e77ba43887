//! The metrics of one load of a model.
//!
//! Input: the model's name. Output: handles to record with. They are looked up once, as a look-up by labels costs more than recording.

use metrics::{Histogram, histogram};

use crate::telemetry::metrics::{BATCH_SIZE, INFERENCE_SECONDS, QUEUE_SECONDS};

/// The handles.
#[derive(Clone)]
pub(super) struct ModelMeters {
    /// Seconds that a window waits for its batch.
    pub queue_seconds: Histogram,
    /// Windows in one run.
    pub batch_size: Histogram,
    /// Seconds of one run.
    pub inference_seconds: Histogram,
}

impl std::fmt::Debug for ModelMeters {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ModelMeters")
    }
}

impl ModelMeters {
    /// The handles of a model, by name and version.
    pub fn of(model: &str) -> Self {
        let histogram = |name: &'static str| histogram!(name, "model" => model.to_owned());
        Self {
            queue_seconds: histogram(QUEUE_SECONDS),
            batch_size: histogram(BATCH_SIZE),
            inference_seconds: histogram(INFERENCE_SECONDS),
        }
    }
}
