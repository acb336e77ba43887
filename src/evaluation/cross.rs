//! The cross-corpus matrix: the figures of several models on several corpora.
//!
//! Input: models with their provenance, corpora with their labels, and the report of each pair. Output: JSON with stable keys, and tables. Invariant: every
//! figure of a pair is over the labels that the model and the corpus share: clips with other labels are left out, and the answers are restricted to the shared
//! ones, so that chance is the same for both.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Report;
use super::report::{numbers, trimmed};

/// The figures of all models on all corpora. The field names are the JSON keys and must not change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CrossReport {
    /// The rows.
    pub models: Vec<CrossModel>,
    /// The columns.
    pub corpora: Vec<CrossCorpus>,
    /// The pairs, row by row.
    pub cells: Vec<CrossCell>,
}

/// A model of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrossModel {
    /// The name and version; with the file where several models have the same.
    pub model: String,
    /// The file.
    pub file: String,
    /// The model's labels.
    pub labels: Vec<String>,
    /// The datasets that trained the model, as its contract names them.
    pub trained_on: Vec<String>,
    /// The split protocol of the training.
    pub protocol: String,
}

/// A test corpus of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrossCorpus {
    /// The short name, which is different for each corpus.
    pub corpus: String,
    /// The corpus as the command line names it.
    pub data: String,
    /// The split that is evaluated.
    pub split: String,
    /// The number of usable clips, whatever their labels are.
    pub clips: u64,
    /// The labels of these clips, sorted.
    pub labels: Vec<String>,
}

/// The figures of one model on one corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrossCell {
    /// See [`CrossModel::model`].
    pub model: String,
    /// See [`CrossCorpus::corpus`].
    pub corpus: String,
    /// The labels that both have, in the order of the model's.
    pub labels: Vec<String>,
    /// The unweighted average recall of random answers: 1 / the number of these labels.
    pub chance: f64,
    /// The number of clips that are left out because the model does not have their label.
    pub left_out: u64,
    /// The figures over the shared labels. Its skipped clips are those whose audio is not usable.
    pub report: Report,
}

/// Returns the labels of a model that a corpus has too, in the order of the model's.
#[must_use]
pub fn shared_labels(model: &[String], corpus: &[String]) -> Vec<String> {
    model.iter().filter(|label| corpus.contains(label)).cloned().collect()
}

/// A figure of a report.
type Figure = fn(&Report) -> f64;

/// The figures of a pair in the tables, with their names.
const FIGURES: [(&str, Figure); 3] = [
    ("unweighted average recall", |report| report.unweighted_average_recall),
    ("expected calibration error", |report| report.expected_calibration_error),
    ("accuracy of the surest half", |report| report.surest_half_accuracy),
];

/// The table form: one table for each figure, then what is restricted.
impl fmt::Display for CrossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figure) in FIGURES {
            writeln!(f, "{name}\n{}\n", self.table(figure))?;
        }
        for corpus in &self.corpora {
            let CrossCorpus { corpus, data, split, clips, .. } = corpus;
            writeln!(f, "{corpus}: {data}, split {split}, {clips} clips")?;
        }
        self.cells.iter().try_for_each(|cell| self.write_restriction(f, cell))
    }
}

impl CrossReport {
    fn table(&self, figure: fn(&Report) -> f64) -> String {
        let corpora = self.corpora.iter().map(|corpus| corpus.corpus.clone());
        let header: Vec<String> = [String::new()].into_iter().chain(corpora).collect();
        let mut table = numbers(&[header, vec!["  trained on".to_owned()]].concat());
        let trained_on = table.column_count() - 1;
        if let Some(column) = table.column_mut(trained_on) {
            column.set_cell_alignment(comfy_table::CellAlignment::Left);
        }
        for model in &self.models {
            let cells = self.cells.iter().filter(|cell| cell.model == model.model);
            let cells = cells.map(|cell| format!("{:.4}", figure(&cell.report)));
            let trained_on = format!("  {}", self.datasets(model));
            table.add_row([model.model.clone()].into_iter().chain(cells).chain([trained_on]));
        }
        trimmed(&table)
    }

    fn datasets(&self, model: &CrossModel) -> String {
        if model.trained_on.is_empty() { "not stated".to_owned() } else { model.trained_on.join(", ") }
    }

    /// Writes what a pair leaves out; nothing where model and corpus have the same labels.
    fn write_restriction(&self, f: &mut fmt::Formatter<'_>, cell: &CrossCell) -> fmt::Result {
        let CrossCell { model, corpus, labels, chance, left_out, .. } = cell;
        let all = self.models.iter().find(|it| it.model == *model).map_or(0, |it| it.labels.len());
        if *left_out == 0 && labels.len() == all {
            return Ok(());
        }
        let labels = labels.join(", ");
        writeln!(
            f,
            "{model} on {corpus}: clips and answers are restricted to the shared labels {labels} (chance {chance:.3}); \
             {left_out} clips with other labels are left out"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Metrics, ScoredClip};

    fn names(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    fn report(model: &str, right: &[bool]) -> Report {
        let clip = |right: &bool| ScoredClip {
            truth: usize::from(!right),
            probabilities: vec![0.75, 0.25],
            speaker: None,
        };
        let clips: Vec<ScoredClip> = right.iter().map(clip).collect();
        let labels = names(&["anger", "sadness"]);
        Report::new(model.to_owned(), labels.clone(), Metrics::of(&labels, &clips), 0, 0.0)
    }

    fn matrix() -> CrossReport {
        let model = |name: &str, trained_on: &[&str]| CrossModel {
            model: name.to_owned(),
            file: format!("{name}.onnx"),
            labels: names(&["anger", "sadness"]),
            trained_on: names(trained_on),
            protocol: String::new(),
        };
        let corpus = |name: &str, labels: &[&str]| CrossCorpus {
            corpus: name.to_owned(),
            data: format!("manifest:{name}.csv"),
            split: "all".to_owned(),
            clips: 4,
            labels: names(labels),
        };
        let cell = |model: &str, corpus: &str, left_out, right: &[bool]| CrossCell {
            model: model.to_owned(),
            corpus: corpus.to_owned(),
            labels: names(&["anger", "sadness"]),
            chance: 0.5,
            left_out,
            report: report(model, right),
        };
        CrossReport {
            models: vec![model("one@1", &["first"]), model("other@1", &[])],
            corpora: vec![
                corpus("first", &["anger", "sadness"]),
                corpus("second", &["anger", "fear", "sadness"]),
            ],
            cells: vec![
                cell("one@1", "first", 0, &[true, false]),
                cell("one@1", "second", 2, &[true, true]),
                cell("other@1", "first", 0, &[true]),
                cell("other@1", "second", 2, &[false, false]),
            ],
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_model_and_a_column_for_each_corpus() {
        let text = matrix().to_string();
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines[0], "unweighted average recall");
        assert_eq!(words(lines[1]), ["first", "second", "trained", "on"]);
        assert_eq!(words(lines[2]), ["one@1", "0.5000", "1.0000", "first"]);
        assert_eq!(words(lines[3]), ["other@1", "1.0000", "0.0000", "not", "stated"]);
        for (name, _) in FIGURES {
            assert!(lines.contains(&name), "{name}: {text}");
        }
    }

    #[test]
    fn what_is_left_out_is_stated_and_only_then() {
        let text = matrix().to_string();
        assert!(text.contains("one@1 on second: clips and answers are restricted to the shared labels anger, sadness (chance 0.500); 2 clips"), "{text}");
        assert!(!text.contains("on first: clips"), "{text}");
    }

    #[test]
    fn shared_labels_have_the_order_of_the_model() {
        let (model, corpus) = (names(&["sadness", "anger", "fear"]), names(&["anger", "calm", "sadness"]));
        assert_eq!(shared_labels(&model, &corpus), ["sadness", "anger"]);
        assert!(shared_labels(&model, &names(&["calm"])).is_empty());
    }
}
