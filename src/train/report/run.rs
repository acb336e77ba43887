//! Creation of a report from a finished run.
//!
//! Input: the trained model, its identity and the command line. Output: a [`TrainingReport`] with all settings.

use super::TrainingReport;
use crate::datasets::{DatasetSpec, Protocol};
use crate::train::encoder::Encoder;
use crate::train::{Identity, Trained, Training};

impl TrainingReport {
    /// Creates the report of a model that `command` has trained.
    #[must_use]
    pub fn of(trained: &Trained, identity: &Identity, command: Vec<String>) -> Self {
        let training = &trained.training;
        Self {
            model: format!("{}@{}", identity.name, identity.version),
            protocol: training.selection.protocol.describe(&training.selection.data),
            shares_speakers: matches!(training.selection.protocol, Protocol::Random { .. }),
            labels: trained.labels.clone(),
            training_clips: trained.training_clips,
            history: trained.fitted.history.clone(),
            best_epoch: trained.fitted.epoch,
            validation: trained.fitted.validation_clips.clone(),
            test: trained.test_clips.clone(),
            temperature: trained.fitted.temperature,
            parameters: trained.parameters(),
            encoder: training.encoder.as_ref().map(ToString::to_string),
            mflop_per_window: trained.architecture.operations() as f64 / 1e6,
            seconds: trained.seconds,
            seed: training.fit.seed,
            audit: trained.audit.clone(),
            command,
            settings: settings(training),
        }
    }
}

fn settings(training: &Training) -> serde_json::Value {
    let recipe = &training.recipe;
    serde_json::json!({
        "data": training.selection.data.iter().map(DatasetSpec::to_string).collect::<Vec<_>>(),
        "protocol": training.selection.protocol.describe(&training.selection.data),
        "label_map": training.selection.label_map.to_string(),
        "architecture": training.kind.name(),
        "encoder": training.encoder.as_ref().map(Encoder::settings),
        "sizes": training.sizes,
        "input": recipe.input,
        "sample_rate_hz": recipe.sample_rate_hz,
        "window": recipe.window,
        "mfcc": recipe.mfcc,
        "waveform": training.waveform,
        "augmentation": training.strength,
        "fit": training.fit,
    })
}
