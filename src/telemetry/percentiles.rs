//! Percentiles by the nearest-rank method, over all samples rather than over histogram buckets.
//!
//! Input: durations. Output: percentiles. Invariants: a percentile is always one of the samples.

use std::time::Duration;

/// Returns the nearest-rank percentile: the value at rank `ceil(share · n)`. `sorted` is ascending and not empty.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], share: f64) -> T {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The reported percentiles of a set of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: Duration,
    /// The 95th percentile.
    pub p95: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The maximum.
    pub max: Duration,
}

impl Percentiles {
    /// Sorts the samples and returns their percentiles, or `None` where there are no samples.
    #[must_use]
    pub fn of(samples: &mut [Duration]) -> Option<Self> {
        samples.sort_unstable();
        let max = *samples.last()?;
        let at = |share| percentile(samples, share);
        Some(Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let ms = Duration::from_millis;
        let mut samples: Vec<Duration> = (1..=200).rev().map(ms).collect();
        let found = Percentiles::of(&mut samples).unwrap();
        assert_eq!(found, Percentiles { p50: ms(100), p95: ms(190), p99: ms(198), max: ms(200) });
        let one = Percentiles::of(&mut [ms(7)]).unwrap();
        assert_eq!((one.p50, one.max), (ms(7), ms(7)));
        assert_eq!(Percentiles::of(&mut []), None);
    }
}
