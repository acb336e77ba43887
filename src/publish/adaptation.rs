//! Adaptation: removes from a window's logits the mean of the stream's own, so that a voice or a line that the model takes for one emotion throughout does
//! not hide the changes.
//!
//! Input: the probabilities of a window, and the statistics of the windows before it in the same channel. Output: adapted probabilities. Pure; a window
//! depends on the windows before it alone, so a replay of the stream gives the same.
//!
//! The logit `z` of a label is the logarithm of its probability, less the mean over the labels. With `n` windows so far, the present one included, their mean
//! `m` and variance `v` (averaged over the labels), the adapted logits are `z − g · n / (n + K) · (m − m₀)`: the mean is shrunk by `K` windows
//! (`publish.adaptation_windows`) towards `m₀`, that of the training data, which the model's contract gives, or 0. A stream whose mean is `m₀` is not changed.
//! For a linear head this equals removing a shrunk running mean of its features.
//!
//! The guard `g = min(1, v / V) · (n − 1) / (n + 7)` keeps a stream that holds one emotion from being turned around: its logits vary half as much as those of
//! a stream of several emotions, and while few windows are known nothing is removed. `V` is the variance of
//! streams of mixed emotions, which the model's contract gives.

use std::sync::Arc;

use crate::stream::{ChannelState, LogitStatistics};

/// `V` of a model whose contract does not give it.
const MIXED_VARIANCE: f32 = 1.2;
/// Windows by which the variance is shrunk towards 0.
const VARIANCE_WINDOWS: f32 = 8.0;
/// Smaller probabilities count as this one, so that a single certain window does not decide the mean.
const SMALLEST: f32 = 1e-4;

/// `publish.adaptation_windows` where adaptation is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptation {
    /// Windows by which the mean is shrunk, `K`.
    pub windows: usize,
}

/// The labels of a model, and what it learnt them from.
#[derive(Debug, Clone, Copy)]
pub struct TrainedLabels<'a> {
    /// The labels.
    pub names: &'a Arc<[String]>,
    /// The mean logit of each label over the training data, `m₀`; empty where it is not known, which counts as 0.
    pub mean_logits: &'a [f32],
    /// The variance of the logits of one speaker who acts all emotions, `V`; `None` where it is not known.
    pub variance: Option<f32>,
}

impl Adaptation {
    /// Adapts a channel's next window and updates the channel's state. Returns one probability for each label; nothing for a silent window, which has no
    /// scores and changes no state.
    #[must_use]
    pub fn adapt_channel(
        &self,
        state: &mut ChannelState,
        labels: TrainedLabels<'_>,
        scores: &[f32],
    ) -> Vec<f32> {
        if scores.is_empty() {
            return Vec::new();
        }
        let (adapted, next) = self.adapt(state.logits.as_deref(), labels, scores);
        state.logits = Some(Arc::new(next));
        adapted
    }

    /// Adapts a window that follows those of `before`. Returns one probability for each label, and the statistics for the next window.
    #[must_use]
    pub fn adapt(
        &self,
        before: Option<&LogitStatistics>,
        TrainedLabels { names, mean_logits, variance }: TrainedLabels<'_>,
        scores: &[f32],
    ) -> (Vec<f32>, LogitStatistics) {
        let before = before.filter(|before| before.labels == *names && before.means.len() == scores.len());
        let mut statistics = before.cloned().unwrap_or_else(|| LogitStatistics {
            labels: names.clone(),
            windows: 0,
            means: vec![0.0; scores.len()],
            deviations: 0.0,
        });
        let logits = logits(scores);
        add(&mut statistics, &logits);
        let weight = self.weight(&statistics, variance.unwrap_or(MIXED_VARIANCE));
        let trained = mean_logits.iter().copied().chain(std::iter::repeat(0.0));
        let means = statistics.means.iter().zip(trained);
        let adapted =
            logits.iter().zip(means).map(|(logit, (mean, trained))| logit - weight * (mean - trained));
        (probabilities(&adapted.collect::<Vec<f32>>()), statistics)
    }

    /// Returns the share of the mean that is removed, from 0 to 1.
    fn weight(&self, statistics: &LogitStatistics, mixed_variance: f32) -> f32 {
        let windows = statistics.windows as f32;
        if statistics.windows < 2 {
            return 0.0;
        }
        let variance = statistics.deviations / (windows - 1.0);
        let guard =
            (variance / mixed_variance).min(1.0) * (windows - 1.0) / (windows - 1.0 + VARIANCE_WINDOWS);
        guard * windows / (windows + self.windows as f32)
    }
}

/// Returns the logits of a window's probabilities, whose mean is 0.
#[must_use]
pub fn logits(scores: &[f32]) -> Vec<f32> {
    let logs: Vec<f32> = scores.iter().map(|score| score.max(SMALLEST).ln()).collect();
    let mean = logs.iter().sum::<f32>() / logs.len() as f32;
    logs.into_iter().map(|log| log - mean).collect()
}

/// Returns the probabilities of logits (softmax).
#[must_use]
pub fn probabilities(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.into_iter().map(|value| value / sum).collect()
}

/// Adds a window (Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", 1962).
fn add(statistics: &mut LogitStatistics, logits: &[f32]) {
    statistics.windows += 1;
    let windows = statistics.windows as f32;
    let mut squares = 0.0;
    for (mean, logit) in statistics.means.iter_mut().zip(logits) {
        let before = logit - *mean;
        *mean += before / windows;
        squares += before * (logit - *mean);
    }
    statistics.deviations += squares / logits.len() as f32;
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: [[f32; 3]; 4] = [[0.9, 0.07, 0.03], [0.5, 0.45, 0.05], [0.9, 0.02, 0.08], [0.5, 0.05, 0.45]];

    fn names() -> Arc<[String]> {
        ["anger", "fear", "sadness"].iter().map(|label| (*label).to_owned()).collect()
    }

    /// The labels of a model whose training data is not known.
    fn untrained(names: &Arc<[String]>) -> TrainedLabels<'_> {
        TrainedLabels { names, mean_logits: &[], variance: None }
    }

    /// Adapts windows of one channel after the other.
    fn adapted(windows: &[[f32; 3]]) -> Vec<Vec<f32>> {
        adapted_towards(&[], windows)
    }

    /// The same for a model with these mean logits.
    fn adapted_towards(mean_logits: &[f32], windows: &[[f32; 3]]) -> Vec<Vec<f32>> {
        let (adaptation, names, mut state) = (Adaptation { windows: 12 }, names(), ChannelState::default());
        let labels = TrainedLabels { names: &names, mean_logits, variance: None };
        windows.iter().map(|scores| adaptation.adapt_channel(&mut state, labels, scores)).collect()
    }

    fn best(scores: &[f32]) -> usize {
        (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
    }

    #[test]
    fn the_formula_is_what_a_hand_computes() {
        let found = adapted(&[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]);
        assert!((found[0][0] - 0.5).abs() < 1e-6, "nothing is known before the second window");
        // With a = ln 2 the centred logits are (2, −1, −1)·a/3 and (−1, 2, −1)·a/3.
        let a = std::f32::consts::LN_2;
        let mean = [a / 6.0, a / 6.0, -a / 3.0];
        // Two labels differ by a, the third by 0: the squared deviations of two windows are a²/2 each.
        let variance = 2.0 * a * a / 2.0 / 3.0;
        let weight = variance / MIXED_VARIANCE / (1.0 + VARIANCE_WINDOWS) * 2.0 / 14.0;
        let logits =
            [-a / 3.0 - weight * mean[0], 2.0 * a / 3.0 - weight * mean[1], -a / 3.0 - weight * mean[2]];
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        for (found, logit) in found[1].iter().zip(logits) {
            assert!((found - logit.exp() / sum).abs() < 1e-6, "{found} {logit}");
        }
    }

    #[test]
    fn a_label_that_is_always_likely_gives_way_to_the_one_that_changes() {
        let windows: Vec<[f32; 3]> = MIXED.iter().copied().cycle().take(200).collect();
        let found = adapted(&windows);
        assert_eq!(
            windows.iter().filter(|scores| best(&scores[..]) != 0).count(),
            0,
            "raw: anger throughout"
        );
        let late: Vec<usize> = found[196..].iter().map(|scores| best(scores)).collect();
        assert!(late.contains(&1) && late.contains(&2), "{late:?}");
        assert!(found.iter().all(|scores| (scores.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    }

    #[test]
    fn the_mean_is_shrunk_towards_that_of_the_training_data() {
        let windows: Vec<[f32; 3]> = MIXED.iter().copied().cycle().take(200).collect();
        let all: Vec<Vec<f32>> = windows.iter().map(|scores| logits(scores)).collect();
        let mean = |label: usize| all.iter().map(|logits| logits[label]).sum::<f32>() / 200.0;
        let own = [mean(0), mean(1), mean(2)];
        let unchanged =
            |found: &[f32], raw: &[f32; 3]| found.iter().zip(raw).all(|(a, b)| (a - b).abs() < 1e-3);
        let last = &adapted_towards(&own, &windows)[199];
        assert!(unchanged(last, &windows[199]), "a stream like the training data is not changed: {last:?}");
        assert!(!unchanged(&adapted(&windows)[199], &windows[199]));
        let raised = adapted_towards(&[own[0], own[1] + 3.0, own[2]], &windows);
        let raw = &windows[199];
        assert!(raised[199][1] > raw[1] + 0.1, "a label that was frequent in training is raised: {raised:?}");
        assert!(unchanged(&raised[0], &windows[0]), "nothing is known before the second window");
    }

    #[test]
    fn a_stream_of_one_emotion_keeps_its_label() {
        let windows: Vec<[f32; 3]> =
            (0..200).map(|at| if at % 2 == 0 { [0.7, 0.2, 0.1] } else { [0.65, 0.2, 0.15] }).collect();
        assert!(adapted(&windows).iter().all(|scores| best(scores) == 0 && scores[0] > 0.6));
    }

    #[test]
    fn silent_windows_change_nothing_and_other_labels_start_afresh() {
        let (adaptation, names, mut state) = (Adaptation { windows: 12 }, names(), ChannelState::default());
        for scores in MIXED {
            let _ = adaptation.adapt_channel(&mut state, untrained(&names), &scores);
        }
        let before = state.clone();
        assert!(adaptation.adapt_channel(&mut state, untrained(&names), &[]).is_empty());
        assert_eq!(state, before);
        let others: Arc<[String]> = ["a", "b", "c"].iter().map(|label| (*label).to_owned()).collect();
        let (scores, next) = adaptation.adapt(state.logits.as_deref(), untrained(&others), &[0.2, 0.3, 0.5]);
        assert!((scores[2] - 0.5).abs() < 1e-6 && next.windows == 1);
    }

    #[test]
    fn json_brings_the_same_statistics_back() {
        let (adaptation, names, mut state) = (Adaptation { windows: 12 }, names(), ChannelState::default());
        for scores in MIXED {
            let _ = adaptation.adapt_channel(&mut state, untrained(&names), &scores);
        }
        let statistics = state.logits.as_deref().unwrap();
        let json = serde_json::to_string(statistics).unwrap();
        assert_eq!(serde_json::from_str::<LogitStatistics>(&json).unwrap(), *statistics);
    }
}
