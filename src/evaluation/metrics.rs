//! Classification metrics.
//!
//! Input: the true label and the probabilities of each clip. Output: accuracy, UAR, macro F1, calibration error,
//! confusion matrix and confidence intervals. Invariants: where scikit-learn has a metric, the value equals
//! scikit-learn's; the same clips always give the same values.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, intervals};
use super::risk_coverage::{RiskCoverage, RiskCoverageCurve};

/// The number of confidence bins of the expected calibration error (Guo et al., "On Calibration of Modern Neural
/// Networks", 2017).
const CALIBRATION_BINS: usize = 15;

/// A scored clip with its true label.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredClip {
    /// The index of the true label.
    pub truth: usize,
    /// One probability for each label: the mean over the clip's windows.
    pub probabilities: Vec<f32>,
    /// The speaker's id, where it is known. The bootstrap resamples all clips of a speaker together.
    pub speaker: Option<String>,
}

impl ScoredClip {
    /// Returns the index of the most probable label; of equal ones, the first.
    #[must_use]
    pub fn prediction(&self) -> usize {
        most_probable(&self.probabilities)
    }
}

/// Returns the index of the highest value (argmax); of equal ones, the first.
#[must_use]
pub fn most_probable(probabilities: &[f32]) -> usize {
    let better = |best: usize, at: usize| if probabilities[at] > probabilities[best] { at } else { best };
    (0..probabilities.len()).fold(0, better)
}

/// The metrics of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// The label of the class.
    pub label: String,
    /// True positives / predicted positives; 0 where the class is never predicted.
    pub precision: f64,
    /// True positives / clips of the class; 0 where there is no such clip.
    pub recall: f64,
    /// The harmonic mean of precision and recall, `2·P·R / (P + R)`; 0 where both are 0.
    pub f1: f64,
    /// The number of clips of the class.
    pub support: u64,
}

/// The metrics of one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// The share of clips that are predicted correctly (scikit-learn's `accuracy_score`).
    pub accuracy: f64,
    /// UAR: the unweighted mean of recall over the classes that occur (scikit-learn's `balanced_accuracy_score`).
    pub unweighted_average_recall: f64,
    /// The unweighted mean of F1 over the classes that occur or are predicted (scikit-learn's `f1_score(average="macro")`).
    pub macro_f1: f64,
    /// The number of clips by true label (rows) and predicted label (columns), as scikit-learn's `confusion_matrix`.
    pub confusion_matrix: Vec<Vec<u64>>,
    /// The metrics of each class, in the order of the labels.
    pub per_class: Vec<ClassMetrics>,
    /// ECE: the mean of |confidence - accuracy| over equal-width confidence bins, weighted by their numbers of clips.
    pub expected_calibration_error: f64,
    /// The accuracy of the half of the clips whose prediction has the highest probability.
    pub surest_half_accuracy: f64,
    /// AURC: the area under the risk-coverage curve, the mean error of the surest 1, 2, … and all clips (Geifman and El-Yaniv, "Selective
    /// Classification for Deep Neural Networks", 2017). Clips of equal confidence count as one step with their mean error.
    pub area_under_risk_coverage: f64,
    /// The risk-coverage curve at coverages of 0.05, 0.10, … and 1; fewer points where there are fewer clips.
    pub risk_coverage: Vec<RiskCoverage>,
    /// The 95 % bootstrap interval by speaker; `None` with fewer than two speakers.
    pub accuracy_interval: Option<Interval>,
    /// The same interval of the unweighted average recall.
    pub unweighted_average_recall_interval: Option<Interval>,
}

impl Metrics {
    /// Computes the metrics of `clips` for a model with `labels`. Without clips every value is 0.
    ///
    /// # Panics
    /// Panics where a true label or the number of probabilities is inconsistent with the labels.
    #[must_use]
    pub fn of(labels: &[String], clips: &[ScoredClip]) -> Self {
        Self::of_unless(labels, clips, &|| false)
    }

    /// Computes the metrics as [`Self::of`] does, without intervals once `is_cancelled` returns true.
    ///
    /// # Panics
    /// As [`Self::of`].
    #[must_use]
    pub fn of_unless(labels: &[String], clips: &[ScoredClip], is_cancelled: &dyn Fn() -> bool) -> Self {
        let confusion_matrix = confusion(labels.len(), clips);
        let per_class: Vec<ClassMetrics> = labels
            .iter()
            .enumerate()
            .map(|(at, label)| class_metrics(label, at, &confusion_matrix))
            .collect();
        let is_seen = |at: usize| confusion_matrix.iter().any(|row| row[at] > 0) || per_class[at].support > 0;
        let macro_f1 = mean((0..labels.len()).filter(|at| is_seen(*at)).map(|at| per_class[at].f1));
        let (accuracy_interval, unweighted_average_recall_interval) =
            intervals(labels.len(), clips, is_cancelled).unzip();
        let curve = RiskCoverageCurve::new(clips);
        Self {
            surest_half_accuracy: curve.surest_half_accuracy(),
            area_under_risk_coverage: curve.area(),
            risk_coverage: curve.points(),
            accuracy: accuracy(&confusion_matrix),
            unweighted_average_recall: unweighted_average_recall(&confusion_matrix),
            macro_f1,
            expected_calibration_error: calibration_error(clips),
            confusion_matrix,
            per_class,
            accuracy_interval,
            unweighted_average_recall_interval,
        }
    }
}

/// Returns the confusion matrix `[labels][labels]`: rows = truth, columns = prediction.
pub(super) fn confusion<'a>(labels: usize, clips: impl IntoIterator<Item = &'a ScoredClip>) -> Vec<Vec<u64>> {
    let mut matrix = vec![vec![0; labels]; labels];
    for clip in clips {
        assert_eq!(clip.probabilities.len(), labels, "one probability for each label");
        matrix[clip.truth][clip.prediction()] += 1;
    }
    matrix
}

pub(super) fn accuracy(matrix: &[Vec<u64>]) -> f64 {
    let right: u64 = matrix.iter().enumerate().map(|(at, row)| row[at]).sum();
    ratio(right, matrix.iter().flatten().sum())
}

pub(super) fn unweighted_average_recall(matrix: &[Vec<u64>]) -> f64 {
    let occurring = matrix.iter().enumerate().filter(|(_, row)| row.iter().any(|count| *count > 0));
    mean(occurring.map(|(at, row)| ratio(row[at], row.iter().sum())))
}

fn class_metrics(label: &str, at: usize, matrix: &[Vec<u64>]) -> ClassMetrics {
    let right = matrix[at][at];
    let support = matrix[at].iter().sum();
    let precision = ratio(right, matrix.iter().map(|row| row[at]).sum());
    let recall = ratio(right, support);
    let f1 = if right == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    ClassMetrics { label: label.to_owned(), precision, recall, f1, support }
}

/// Returns the expected calibration error, `Σ_b |Σ confidence - Σ correct| / clips`, which equals the weighted mean of the
/// bins' |confidence - accuracy|. The bins are `(0, 1/15]`, `(1/15, 2/15]`, …; the confidence of a clip is the
/// probability of its prediction.
fn calibration_error(clips: &[ScoredClip]) -> f64 {
    let mut bins = [(0_u64, 0.0_f64, 0_u64); CALIBRATION_BINS];
    for clip in clips {
        let prediction = clip.prediction();
        let confidence = f64::from(clip.probabilities[prediction]).clamp(0.0, 1.0);
        let at = ((confidence * CALIBRATION_BINS as f64).ceil() as usize).clamp(1, CALIBRATION_BINS) - 1;
        let (count, confidences, right) = &mut bins[at];
        *count += 1;
        *confidences += confidence;
        *right += u64::from(prediction == clip.truth);
    }
    let distances: f64 = bins.iter().map(|(_, confidences, right)| (confidences - *right as f64).abs()).sum();
    if clips.is_empty() { 0.0 } else { distances / clips.len() as f64 }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}
