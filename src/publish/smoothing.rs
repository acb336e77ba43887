//! Smoothing: combines a window's scores with those of the windows before it in the same segment of the same channel.
//!
//! Input: raw scores, and those of the last windows. Output: smoothed scores, and the scores that the next window is smoothed with. Both
//! methods look back over a fixed number of windows, so the raw scores of the last few are the whole state: a window that is analysed again
//! after a crash gets the same scores as before. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::{Smoothing, SmoothingMethod};
use crate::stream::{ChannelState, RecentScores};

/// The model's scores of one window.
#[derive(Debug, Clone, Copy)]
pub struct RawScores<'a> {
    /// Start of the first window of the window's segment, which identifies the segment. Nothing is smoothed across the end of one.
    pub segment: Duration,
    /// The model's labels.
    pub labels: &'a Arc<[String]>,
    /// One for each label.
    pub scores: &'a [f32],
}

impl Smoothing {
    /// Smooths a channel's next window and updates the channel's state. Returns one value for each label; nothing for a silent window,
    /// which has no scores and changes no state.
    #[must_use]
    pub fn smooth_channel(&self, state: &mut ChannelState, window: RawScores<'_>) -> Vec<f32> {
        if window.scores.is_empty() {
            return Vec::new();
        }
        let (smoothed, next) = self.smooth(state.recent.as_deref(), window);
        state.recent = Some(Arc::new(next));
        smoothed
    }

    /// Smooths a window that follows those of `before`. Returns one value for each label, and the scores for the next window.
    #[must_use]
    pub fn smooth(&self, before: Option<&RecentScores>, window: RawScores<'_>) -> (Vec<f32>, RecentScores) {
        let RawScores { segment, labels, scores } = window;
        let before = before.filter(|recent| recent.segment == segment && recent.labels == *labels);
        let mut rows = before.map_or_else(Vec::new, |recent| recent.scores.clone());
        rows.extend_from_slice(scores);
        let width = scores.len();
        // The state may come from a reader that was configured to look back further.
        keep_last(&mut rows, self.windows * width);
        let smoothed = match self.method {
            SmoothingMethod::Exponential => exponential(&rows, width, self.windows),
            SmoothingMethod::Median => median(&rows, width),
        };
        keep_last(&mut rows, (self.windows - 1) * width);
        (smoothed, RecentScores { segment, labels: labels.clone(), scores: rows })
    }
}

fn keep_last(rows: &mut Vec<f32>, values: usize) {
    rows.drain(..rows.len().saturating_sub(values));
}

/// The mean with weights `(1 − α)^age`, `α = 2 / (n + 1)`: exponential smoothing (Brown, "Statistical Forecasting for Inventory Control",
/// 1959) by its span, as `pandas.DataFrame.ewm(span=n, adjust=True)` has it, cut off after n windows. The weights add up to 1, so
/// probabilities remain probabilities.
fn exponential(rows: &[f32], width: usize, windows: usize) -> Vec<f32> {
    let keep = 1.0 - 2.0 / (windows as f64 + 1.0);
    let mut sums = vec![0.0; width];
    let mut total = 0.0;
    for row in rows.chunks_exact(width) {
        total = total * keep + 1.0;
        for (sum, score) in sums.iter_mut().zip(row) {
            *sum = *sum * keep + f64::from(*score);
        }
    }
    sums.into_iter().map(|sum| (sum / total) as f32).collect()
}

/// The median of each label by itself (Tukey, "Exploratory Data Analysis", 1977): of an even number the mean of the middle two. The values
/// need not add up to 1: where windows contradict each other all are low.
fn median(rows: &[f32], width: usize) -> Vec<f32> {
    let of_label = |label: usize| {
        let mut scores: Vec<f32> = rows.iter().skip(label).step_by(width).copied().collect();
        scores.sort_unstable_by(f32::total_cmp);
        let middle = scores.len() / 2;
        if scores.len().is_multiple_of(2) {
            (scores[middle - 1] + scores[middle]) / 2.0
        } else {
            scores[middle]
        }
    };
    (0..width).map(of_label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Arc<[String]> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Smooths windows of one segment after the other.
    fn smoothed(method: SmoothingMethod, windows: usize, scores: &[[f32; 2]]) -> Vec<Vec<f32>> {
        let (smoothing, labels) = (Smoothing { method, windows }, labels(&["anger", "fear"]));
        let mut recent = None;
        let one = |scores: &[f32; 2]| {
            let raw = RawScores { segment: Duration::ZERO, labels: &labels, scores };
            let (smoothed, next) = smoothing.smooth(recent.as_ref(), raw);
            recent = Some(next);
            smoothed
        };
        scores.iter().map(one).collect()
    }

    #[track_caller]
    fn assert_close(found: &[Vec<f32>], expected: &[[f32; 2]]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}, {expected:?}");
        }
    }

    #[test]
    fn the_exponential_mean_is_what_a_hand_computes() {
        // n = 3: α = 1/2, weights 1, 1/2, 1/4; the fourth window no longer sees the first.
        let found =
            smoothed(SmoothingMethod::Exponential, 3, &[[1.0, 0.0], [0.4, 0.6], [0.0, 1.0], [0.7, 0.3]]);
        let second = (0.4 + 0.5) / 1.5;
        let third = (0.0 + 0.2 + 0.25) / 1.75;
        let fourth = (0.7 + 0.0 + 0.1) / 1.75;
        assert_close(
            &found,
            &[[1.0, 0.0], [second, 1.0 - second], [third, 1.0 - third], [fourth, 1.0 - fourth]],
        );
    }

    #[test]
    fn the_median_is_the_middle_one_and_of_an_even_number_between_the_middle_two() {
        let scores = [[0.9, 0.1], [0.1, 0.9], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8]];
        let found = smoothed(SmoothingMethod::Median, 3, &scores);
        assert_close(&found, &[[0.9, 0.1], [0.5, 0.5], [0.8, 0.2], [0.7, 0.3], [0.7, 0.3]]);
        let found = smoothed(SmoothingMethod::Median, 4, &scores);
        assert_close(&found[3..], &[[0.75, 0.25], [0.45, 0.55]]);
    }

    #[test]
    fn another_stretch_and_other_labels_start_afresh() {
        let smoothing = Smoothing { method: SmoothingMethod::Exponential, windows: 5 };
        let (ours, same) = (labels(&["anger", "fear"]), labels(&["anger", "fear"]));
        let others = labels(&["fear", "anger"]);
        let segment = Duration::from_secs(4);
        let (_, recent) = smoothing.smooth(None, RawScores { segment, labels: &ours, scores: &[1.0, 0.0] });
        let next = |segment, labels| {
            smoothing.smooth(Some(&recent), RawScores { segment, labels, scores: &[0.0, 1.0] }).0
        };
        assert!(next(segment, &same)[0] > 0.3, "the same labels, wherever they are kept");
        assert_eq!(next(Duration::from_secs(5), &ours), [0.0, 1.0]);
        assert_eq!(next(segment, &others), [0.0, 1.0]);
    }

    #[test]
    fn json_brings_the_same_scores_back_and_a_shorter_look_uses_the_newest() {
        let long = Smoothing { method: SmoothingMethod::Median, windows: 4 };
        let labels = labels(&["anger"]);
        let raw = |scores| RawScores { segment: Duration::from_millis(1_500), labels: &labels, scores };
        let mut recent: Option<RecentScores> = None;
        for scores in [&[0.1_f32], &[1e-7], &[0.333_333_34], &[0.9]] {
            recent = Some(long.smooth(recent.as_ref(), raw(scores)).1);
        }
        let recent = recent.unwrap();
        let json = serde_json::to_string(&recent).unwrap();
        assert_eq!(serde_json::from_str::<RecentScores>(&json).unwrap(), recent);
        let short = Smoothing { windows: 2, ..long };
        assert_eq!(short.smooth(Some(&recent), raw(&[0.5])).0, [(0.9 + 0.5) / 2.0]);
    }
}
