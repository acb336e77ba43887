//! The result of an evaluation, for programs, for people, and over gRPC.
//!
//! In: the metrics of the clips. Out: stable JSON keys, a table, the protocol's message. Rows of the confusion matrix
//! are the truth. Never rounds but in the table.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::bootstrap::Interval;
use super::metrics::{ClassMetrics, Metrics};

/// One evaluation of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model, as in `crema-d-cnn@1.0.0`.
    pub model: String,
    /// Clips that were scored.
    pub clips: u64,
    /// Clips that were left out; the reasons went to stderr.
    pub skipped: u64,
    /// As in [`Metrics`].
    pub accuracy: f64,
    /// As in [`Metrics`].
    pub unweighted_average_recall: f64,
    /// As in [`Metrics`].
    pub macro_f1: f64,
    /// As in [`Metrics`].
    pub expected_calibration_error: f64,
    /// As in [`Metrics`].
    pub accuracy_interval: Option<Interval>,
    /// As in [`Metrics`].
    pub unweighted_average_recall_interval: Option<Interval>,
    /// The model's labels, in its order.
    pub labels: Vec<String>,
    /// Rows are the truth, columns the prediction, both in the order of `labels`.
    pub confusion_matrix: Vec<Vec<u64>>,
    /// In the order of `labels`.
    pub per_class: Vec<ClassMetrics>,
    /// How long the evaluation took.
    pub seconds: f64,
}

impl Report {
    /// Puts together what was measured. The calibration error keeps six digits: further ones change with the batches
    /// that the clips happened to share.
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
            accuracy_interval: metrics.accuracy_interval,
            unweighted_average_recall_interval: metrics.unweighted_average_recall_interval,
            labels,
            confusion_matrix: metrics.confusion_matrix,
            per_class: metrics.per_class,
            seconds,
        }
    }
}

/// The table for people.
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

/// A table whose columns behind the first are numbers.
fn numbers(header: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
