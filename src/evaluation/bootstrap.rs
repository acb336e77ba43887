//! Confidence intervals by the percentile bootstrap over speakers.
//!
//! Input: scored clips with their speakers. Output: 95 % intervals of accuracy and unweighted average recall (UAR).
//! Invariants: the seed is fixed, so the same clips give the same intervals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::{ScoredClip, accuracy, confusion, unweighted_average_recall};

/// The number of bootstrap resamples. 2,000 determine the ends of a 95 % interval to about half a percentage point.
const RESAMPLES: usize = 2_000;
const SEED: u64 = 20_130_513;

/// A 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

/// Returns the 95 % intervals of accuracy and unweighted average recall, or `None` with fewer than two speakers.
///
/// Each resample draws as many speakers as there are, with replacement, each with all of its clips (Davison and Hinkley,
/// "Bootstrap Methods and their Application", 1997, section 3.8). Resampling single clips was rejected: clips of one
/// speaker are correlated, and the intervals would be too narrow. A clip without a speaker forms its own group.
///
/// Returns `None` too where `is_cancelled` returns true, which is called before each resample.
pub(super) fn intervals(
    labels: usize,
    clips: &[ScoredClip],
    is_cancelled: &dyn Fn() -> bool,
) -> Option<(Interval, Interval)> {
    let groups = by_speaker(labels, clips);
    if groups.len() < 2 {
        return None;
    }
    let mut random = SplitMix64(SEED);
    let (mut accuracies, mut recalls) = (Vec::with_capacity(RESAMPLES), Vec::with_capacity(RESAMPLES));
    let mut sum = vec![vec![0; labels]; labels];
    for _ in 0..RESAMPLES {
        if is_cancelled() {
            return None;
        }
        sum.iter_mut().for_each(|row| row.fill(0));
        for _ in 0..groups.len() {
            for (truth, predicted, count) in &groups[random.below(groups.len())] {
                sum[*truth][*predicted] += count;
            }
        }
        accuracies.push(accuracy(&sum));
        recalls.push(unweighted_average_recall(&sum));
    }
    Some((interval(accuracies), interval(recalls)))
}

/// The entries of a confusion matrix that are not 0: truth, prediction, count. Most speakers have few.
type Entries = Vec<(usize, usize, u64)>;

/// Returns one confusion matrix for each speaker.
fn by_speaker(labels: usize, clips: &[ScoredClip]) -> Vec<Entries> {
    let mut speakers: BTreeMap<&str, Vec<&ScoredClip>> = BTreeMap::new();
    let mut groups = Vec::new();
    for clip in clips {
        match &clip.speaker {
            Some(speaker) => speakers.entry(speaker).or_default().push(clip),
            None => groups.push(entries(&confusion(labels, [clip]))),
        }
    }
    groups.extend(speakers.into_values().map(|clips| entries(&confusion(labels, clips))));
    groups
}

fn entries(matrix: &[Vec<u64>]) -> Entries {
    let rows = matrix.iter().enumerate();
    let cells =
        rows.flat_map(|(truth, row)| row.iter().enumerate().map(move |(at, count)| (truth, at, *count)));
    cells.filter(|(_, _, count)| *count > 0).collect()
}

fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval { low: percentile(&values, 0.025), high: percentile(&values, 0.975) }
}

/// Returns the percentile `at` (0 to 1) by linear interpolation, the default method of `numpy.percentile`.
fn percentile(sorted: &[f64], at: f64) -> f64 {
    let place = at * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The SplitMix64 generator (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). It is
/// written out here so that the intervals do not change with the version of a random number crate.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws uniformly from 0 to `limit - 1` by the high half of a product (Lemire, "Fast Random Integer Generation in an
    /// Interval", 2019). The bias is below 2⁻⁵⁰ for the limits used here, so no draw is rejected.
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
