//! The report of an evaluation.
//!
//! Input: the metrics of the clips. Output: JSON with stable keys, and a table. Invariants: rows of the confusion matrix
//! are the true labels; only the table and the calibration error are rounded.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::bootstrap::Interval;
use super::metrics::{ClassMetrics, Metrics};
use super::risk_coverage::RiskCoverage;

/// The report of one evaluation of one model. The field names are the JSON keys and must not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model's name and version, such as `crema-d-cnn@1.0.0`.
    pub model: String,
    /// The number of clips that were scored.
    pub clips: u64,
    /// The number of clips that were skipped.
    pub skipped: u64,
    /// See [`Metrics::accuracy`].
    pub accuracy: f64,
    /// See [`Metrics::unweighted_average_recall`].
    pub unweighted_average_recall: f64,
    /// See [`Metrics::macro_f1`].
    pub macro_f1: f64,
    /// See [`Metrics::expected_calibration_error`].
    pub expected_calibration_error: f64,
    /// See [`Metrics::surest_half_accuracy`].
    #[serde(default)]
    pub surest_half_accuracy: f64,
    /// See [`Metrics::area_under_risk_coverage`].
    #[serde(default)]
    pub area_under_risk_coverage: f64,
    /// See [`Metrics::risk_coverage`]; empty in the report of an older daemon.
    #[serde(default)]
    pub risk_coverage: Vec<RiskCoverage>,
    /// See [`Metrics::accuracy_interval`].
    pub accuracy_interval: Option<Interval>,
    /// See [`Metrics::unweighted_average_recall_interval`].
    pub unweighted_average_recall_interval: Option<Interval>,
    /// The model's labels, in the order of its output.
    pub labels: Vec<String>,
    /// The number of clips by true label (rows) and predicted label (columns), both in the order of `labels`.
    pub confusion_matrix: Vec<Vec<u64>>,
    /// The metrics of each class, in the order of `labels`.
    pub per_class: Vec<ClassMetrics>,
    /// The duration of the evaluation, in seconds.
    pub seconds: f64,
}

impl Report {
    /// Creates a report. The calibration error is rounded to six decimal places, because further digits vary with the
    /// composition of the batches.
    #[must_use]
    pub fn new(model: String, labels: Vec<String>, metrics: Metrics, skipped: u64, seconds: f64) -> Self {
        Self {
            model,
            clips: metrics.confusion_matrix.iter().flatten().sum(),
            skipped,
            accuracy: metrics.accuracy,
            unweighted_average_recall: metrics.unweighted_average_recall,
            macro_f1: metrics.macro_f1,
            expected_calibration_error: (metrics.expected_calibration_error * 1e6).round() / 1e6,
            surest_half_accuracy: metrics.surest_half_accuracy,
            area_under_risk_coverage: (metrics.area_under_risk_coverage * 1e6).round() / 1e6,
            risk_coverage: metrics.risk_coverage,
            accuracy_interval: metrics.accuracy_interval,
            unweighted_average_recall_interval: metrics.unweighted_average_recall_interval,
            labels,
            confusion_matrix: metrics.confusion_matrix,
            per_class: metrics.per_class,
            seconds,
        }
    }
}

/// The table form.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds;
        writeln!(f, "{}: {} clips, {} skipped, {seconds:.1} s\n", self.model, self.clips, self.skipped)?;
        let figure = |name: &str, value: f64, interval: Option<Interval>| {
            let interval = interval
                .map(|it| format!("   95 % interval by speaker {:.4} to {:.4}", it.low, it.high))
                .unwrap_or_default();
            format!("{name:<28}{value:.4}{interval}\n")
        };
        f.write_str(&figure("accuracy", self.accuracy, self.accuracy_interval))?;
        let recall = self.unweighted_average_recall;
        f.write_str(&figure("unweighted average recall", recall, self.unweighted_average_recall_interval))?;
        f.write_str(&figure("macro F1", self.macro_f1, None))?;
        f.write_str(&figure("expected calibration error", self.expected_calibration_error, None))?;
        f.write_str(&figure("accuracy of the surest half", self.surest_half_accuracy, None))?;
        f.write_str(&figure("area under risk-coverage", self.area_under_risk_coverage, None))?;
        writeln!(f, "\n{}", trimmed(&self.classes()))?;
        writeln!(f, "\ntruth in rows, prediction in columns\n{}", trimmed(&self.confusion()))
    }
}

impl Report {
    fn classes(&self) -> Table {
        let mut table = numbers(&["", "precision", "recall", "F1", "clips"].map(str::to_owned));
        for class in &self.per_class {
            let figures = [class.precision, class.recall, class.f1].map(|value| format!("{value:.4}"));
            let row = [class.label.clone()].into_iter().chain(figures).chain([class.support.to_string()]);
            table.add_row(row);
        }
        table
    }

    fn confusion(&self) -> Table {
        let header: Vec<String> = [String::new()].into_iter().chain(self.labels.iter().cloned()).collect();
        let mut table = numbers(&header);
        for (label, row) in self.labels.iter().zip(&self.confusion_matrix) {
            table.add_row([label.clone()].into_iter().chain(row.iter().map(u64::to_string)));
        }
        table
    }
}

/// Returns a table whose columns after the first are right-aligned numbers.
pub(super) fn numbers(header: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Returns the text of a table without spaces at the ends of its lines.
pub(super) fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
