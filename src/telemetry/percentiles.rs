//! Percentiles by nearest rank, of all samples rather than of buckets.
//!
//! In: durations. Out: the value below which the given share lies, one that was truly seen. Pure.

use std::time::Duration;

/// The nearest rank; `sorted` ascends and holds at least one.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], share: f64) -> T {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// What is told of many durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: Duration,
    /// 95 of 100 are at most this.
    pub p95: Duration,
    /// 99 of 100 are at most this.
    pub p99: Duration,
    /// All are at most this.
    pub max: Duration,
}

impl Percentiles {
    /// Of samples in any order, which are sorted by it; `None` where there are none.
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
    fn ranks_are_those_of_samples_that_were_seen() {
        let ms = Duration::from_millis;
        let mut samples: Vec<Duration> = (1..=200).rev().map(ms).collect();
        let found = Percentiles::of(&mut samples).unwrap();
        assert_eq!(found, Percentiles { p50: ms(100), p95: ms(190), p99: ms(198), max: ms(200) });
        let one = Percentiles::of(&mut [ms(7)]).unwrap();
        assert_eq!((one.p50, one.max), (ms(7), ms(7)));
        assert_eq!(Percentiles::of(&mut []), None);
    }
}
