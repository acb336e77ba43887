//! The statistics of the logits of the training data in the contract, which adaptation to a stream uses.
//!
//! Input: the windows of a corpus that the network was not trained on, with their logits and the temperature. Output: the mean logit of each
//! label, and the variance of one speaker's logits. Invariant: both are in the logits of [`crate::publish::adaptation`], as a stream is adapted.

use std::collections::BTreeMap;

use super::corpus::Corpus;
use super::score::softmax;
use crate::model::TrainingLogits;
use crate::publish::adaptation::logits as centred;

/// Returns the statistics of a corpus; `logits` has one row for each window. The variance is absent where no speaker has two windows.
pub fn statistics(corpus: &Corpus, logits: &[Vec<f32>], temperature: f64) -> TrainingLogits {
    let probabilities =
        |row: &Vec<f32>| softmax(row, temperature).into_iter().map(|it| it as f32).collect::<Vec<f32>>();
    let rows: Vec<Vec<f32>> = logits.iter().map(|row| centred(&probabilities(row))).collect();
    let mut speakers: BTreeMap<&str, Vec<&[f32]>> = BTreeMap::new();
    for (window, row) in corpus.windows.iter().zip(&rows) {
        if let Some(speaker) = &corpus.clip_speakers[window.clip] {
            speakers.entry(speaker).or_default().push(row);
        }
    }
    let variances: Vec<f64> =
        speakers.values().filter(|rows| rows.len() > 1).map(|rows| variance(rows)).collect();
    let variance = (!variances.is_empty()).then(|| mean(&variances) as f32);
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    TrainingLogits { mean_logits: means(&rows).into_iter().map(|it| it as f32).collect(), variance }
}

/// Returns the mean of each column.
fn means(rows: &[&[f32]]) -> Vec<f64> {
    let columns = rows.first().map_or(0, |row| row.len());
    (0..columns)
        .map(|column| mean(&rows.iter().map(|row| f64::from(row[column])).collect::<Vec<f64>>()))
        .collect()
}

/// Returns the variance of each column (n - 1), the mean over the columns.
fn variance(rows: &[&[f32]]) -> f64 {
    let means = means(rows);
    let square = |(value, mean): (&f32, &f64)| (f64::from(*value) - mean).powi(2);
    let squares: f64 = rows.iter().flat_map(|row| row.iter().zip(&means).map(square)).sum();
    squares / (rows.len() - 1) as f64 / means.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::corpus::LabelledWindow;
    use super::*;

    fn corpus(speakers: &[Option<&str>]) -> Corpus {
        let window = |clip| LabelledWindow { features: Vec::new(), label: 0, clip, samples: Vec::new() };
        Corpus {
            windows: (0..speakers.len()).map(window).collect(),
            clip_labels: vec![0; speakers.len()],
            clip_speakers: speakers.iter().map(|it| it.map(str::to_owned)).collect(),
        }
    }

    #[test]
    fn means_are_those_of_all_windows_and_the_variance_is_that_within_a_speaker() {
        let corpus = corpus(&[Some("one"), Some("one"), Some("two"), None]);
        let logits = [vec![2.0, -2.0], vec![6.0, -6.0], vec![-4.0, 4.0], vec![4.0, -4.0]];
        let found = statistics(&corpus, &logits, 2.0);
        // Halved by the temperature: 1, 3, -2 and 2. The second speaker has one window, the last window no speaker.
        assert!(
            (found.mean_logits[0] - 1.0).abs() < 1e-5 && (found.mean_logits[1] + 1.0).abs() < 1e-5,
            "{found:?}"
        );
        assert!((found.variance.unwrap() - 2.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn without_speakers_the_variance_is_absent() {
        let found = statistics(&corpus(&[None, None]), &[vec![1.0, -1.0], vec![3.0, -3.0]], 1.0);
        assert_eq!(found.variance, None);
        assert!((found.mean_logits[0] - 2.0).abs() < 1e-5, "{found:?}");
    }
}
