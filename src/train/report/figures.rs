//! The content of `metrics.json`.
//!
//! Input: the report. Output: serializable figures. Invariants: metrics have the names of `affectd evaluate --format json`.

use serde::Serialize;

use super::TrainingReport;
use crate::evaluation::{ClassMetrics, Interval, Metrics, ScoredClip};
use crate::train::audit::Audit;
use crate::train::state::EpochRecord;

/// The content of `metrics.json`.
#[derive(Debug, Serialize)]
pub(super) struct Figures<'a> {
    pub model: &'a str,
    pub protocol: &'a str,
    pub labels: &'a [String],
    pub training_clips: usize,
    pub validation: SplitFigures,
    pub test: SplitFigures,
    pub parameters: usize,
    pub mflop_per_window: f64,
    pub epochs: usize,
    pub best_epoch: usize,
    pub temperature: f64,
    pub seconds: f64,
    pub seed: u64,
    pub history: &'a [EpochRecord],
    pub audit: &'a Audit,
}

/// The metrics of one split.
#[derive(Debug, Serialize)]
pub(super) struct SplitFigures {
    pub clips: usize,
    pub accuracy: f64,
    pub unweighted_average_recall: f64,
    pub macro_f1: f64,
    pub expected_calibration_error: f64,
    /// The 95 % bootstrap interval by speaker.
    pub accuracy_interval: Option<Interval>,
    pub unweighted_average_recall_interval: Option<Interval>,
    pub per_class: Vec<ClassMetrics>,
    /// The number of clips by true label (rows) and predicted label (columns).
    pub confusion_matrix: Vec<Vec<u64>>,
}

impl<'a> Figures<'a> {
    pub fn of(report: &'a TrainingReport) -> Self {
        Self {
            model: &report.model,
            protocol: &report.protocol,
            labels: &report.labels,
            training_clips: report.training_clips,
            validation: SplitFigures::of(&report.labels, &report.validation),
            test: SplitFigures::of(&report.labels, &report.test),
            parameters: report.parameters,
            mflop_per_window: report.mflop_per_window,
            epochs: report.history.len(),
            best_epoch: report.best_epoch,
            temperature: report.temperature,
            seconds: report.seconds,
            seed: report.seed,
            history: &report.history,
            audit: &report.audit,
        }
    }
}

impl SplitFigures {
    fn of(labels: &[String], clips: &[ScoredClip]) -> Self {
        let metrics = Metrics::of(labels, clips);
        Self {
            clips: clips.len(),
            accuracy: metrics.accuracy,
            unweighted_average_recall: metrics.unweighted_average_recall,
            macro_f1: metrics.macro_f1,
            expected_calibration_error: metrics.expected_calibration_error,
            accuracy_interval: metrics.accuracy_interval,
            unweighted_average_recall_interval: metrics.unweighted_average_recall_interval,
            per_class: metrics.per_class,
            confusion_matrix: metrics.confusion_matrix,
        }
    }
}
