//! How far a figure would move with other speakers: the percentile bootstrap over speakers.
//!
//! In: the clips with their speakers. Out: 95 % intervals of accuracy and unweighted average recall. Never draws
//! another number twice in two runs: the seed is fixed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::{ScoredClip, accuracy, confusion, unweighted_average_recall};

/// Resamples; 2,000 give the ends of a 95 % interval to about half a point of percent.
const RESAMPLES: usize = 2_000;
const SEED: u64 = 20_130_513;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

/// Intervals of accuracy and unweighted average recall. Speakers are drawn with replacement, as many as there are,
/// each with all clips (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8); a clip
/// without a speaker counts as its own. `None` with fewer than two: the spread between speakers is unknown then.
pub(super) fn intervals(labels: usize, clips: &[ScoredClip]) -> Option<(Interval, Interval)> {
    let groups = by_speaker(labels, clips);
    if groups.len() < 2 {
        return None;
    }
    let mut random = SplitMix64(SEED);
    let (mut accuracies, mut recalls) = (Vec::with_capacity(RESAMPLES), Vec::with_capacity(RESAMPLES));
    let mut sum = vec![vec![0; labels]; labels];
    for _ in 0..RESAMPLES {
        sum.iter_mut().for_each(|row| row.fill(0));
        for _ in 0..groups.len() {
            add(&mut sum, &groups[random.below(groups.len())]);
        }
        accuracies.push(accuracy(&sum));
        recalls.push(unweighted_average_recall(&sum));
    }
    Some((interval(accuracies), interval(recalls)))
}

/// One confusion matrix for each speaker.
fn by_speaker(labels: usize, clips: &[ScoredClip]) -> Vec<Vec<Vec<u64>>> {
    let mut speakers: BTreeMap<&str, Vec<&ScoredClip>> = BTreeMap::new();
    let mut groups = Vec::new();
    for clip in clips {
        match &clip.speaker {
            Some(speaker) => speakers.entry(speaker).or_default().push(clip),
            None => groups.push(confusion(labels, [clip])),
        }
    }
    groups.extend(speakers.into_values().map(|clips| confusion(labels, clips)));
    groups
}

fn add(sum: &mut [Vec<u64>], matrix: &[Vec<u64>]) {
    for (sum, count) in sum.iter_mut().flatten().zip(matrix.iter().flatten()) {
        *sum += count;
    }
}

fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval { low: percentile(&values, 0.025), high: percentile(&values, 0.975) }
}

/// Linear between the two nearest, as `numpy.percentile` has it by default.
fn percentile(sorted: &[f64], at: f64) -> f64 {
    let place = at * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to `limit - 1`, by the high half of a product (Lemire, 2019; the bias is below 2⁻⁵⁰ here).
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy 2.4.6: np.percentile([1, 2, 4, 8], [2.5, 50, 97.5]) → 1.075, 3.0, 7.7
        for (at, expected) in [(0.025, 1.075), (0.5, 3.0), (0.975, 7.7)] {
            assert!((percentile(&[1.0, 2.0, 4.0, 8.0], at) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn the_generator_is_the_published_one() {
        // First outputs for the seed 1234567, from the reference implementation in C.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
