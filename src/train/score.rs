//! Scores of logits, per clip as in evaluation, and temperature scaling.
//!
//! Input: the logits of each window, and a corpus. Output: [`Score`]s, and the temperature with the smallest loss.
//! Invariants: the probabilities of a clip are the mean over its windows.

use super::corpus::Corpus;
use crate::evaluation::{Metrics, ScoredClip};

/// The scores of a network on a corpus.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Score {
    /// The share of clips that are predicted correctly.
    pub accuracy: f64,
    /// UAR: the unweighted mean of recall over the labels that occur.
    pub unweighted_average_recall: f64,
    /// The unweighted mean of F1 over the labels that occur or are predicted.
    pub macro_f1: f64,
    /// The mean negative log-likelihood of the true labels.
    pub loss: f64,
}

/// Scores the logits of windows, `[windows][labels]`, at a temperature.
pub fn score(corpus: &Corpus, logits: &[Vec<f32>], temperature: f64) -> Score {
    of_clips(&scored_clips(corpus, logits, temperature))
}

/// Scores clips with their probabilities.
pub fn of_clips(clips: &[ScoredClip]) -> Score {
    let labels = vec![String::new(); clips.first().map_or(0, |clip| clip.probabilities.len())];
    let metrics = Metrics::of(&labels, clips);
    Score {
        accuracy: metrics.accuracy,
        unweighted_average_recall: metrics.unweighted_average_recall,
        macro_f1: metrics.macro_f1,
        loss: mean_loss(clips),
    }
}

/// Returns the mean negative log-likelihood of the true labels.
fn mean_loss(clips: &[ScoredClip]) -> f64 {
    let losses = clips.iter().map(|clip| -f64::from(clip.probabilities[clip.truth].max(1e-12)).ln());
    losses.sum::<f64>() / clips.len().max(1) as f64
}

/// Returns the temperature with the smallest negative log-likelihood (Guo et al. 2017,
/// <https://arxiv.org/abs/1706.04599>), by ternary search over its logarithm between 1/5 and 5, where the loss has one
/// minimum.
pub fn best_temperature(corpus: &Corpus, logits: &[Vec<f32>]) -> f64 {
    let loss = |exponent: f64| mean_loss(&scored_clips(corpus, logits, exponent.exp()));
    let (mut low, mut high) = (-5.0_f64.ln(), 5.0_f64.ln());
    for _ in 0..40 {
        let third = (high - low) / 3.0;
        if loss(low + third) < loss(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    ((low + high) / 2.0).exp()
}

/// Returns the clips with their probabilities at a temperature.
pub fn scored_clips(corpus: &Corpus, logits: &[Vec<f32>], temperature: f64) -> Vec<ScoredClip> {
    let labels = logits.first().map_or(0, Vec::len);
    let mut sums = vec![vec![0.0; labels]; corpus.clip_labels.len()];
    let mut counts = vec![0.0; corpus.clip_labels.len()];
    for (window, logits) in corpus.windows.iter().zip(logits) {
        counts[window.clip] += 1.0;
        let probabilities = softmax(logits, temperature);
        sums[window.clip].iter_mut().zip(probabilities).for_each(|(sum, it)| *sum += it);
    }
    let mean = |(sum, count): (Vec<f64>, f64)| sum.iter().map(|it| (it / count) as f32).collect();
    let means = sums.into_iter().zip(counts).map(mean);
    let known = corpus.clip_labels.iter().zip(&corpus.clip_speakers);
    let clip = |(probabilities, (&truth, speaker)): (_, (&usize, &Option<String>))| ScoredClip {
        truth,
        probabilities,
        speaker: speaker.clone(),
    };
    means.zip(known).map(clip).collect()
}

/// Returns `softmax(logits / temperature)` of one window.
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|it| (f64::from(it - highest) / temperature).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|it| it / total).collect()
}
