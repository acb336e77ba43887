//! The current cost of a window: a session's time for one run, divided by the windows in it, as a moving average.
//!
//! Input: runs, from every inference thread. Output: the average. An update that is lost between two threads does no harm: the next run
//! follows at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One run has the weight 1 / `MEMORY` in the average.
const MEMORY: u64 = 32;

/// A moving average of a session's time for one window. The first run given to [`InferenceCost::add`] is the first value.
#[derive(Debug, Default)]
pub struct InferenceCost {
    /// Nanoseconds; 0 before the first run.
    average: AtomicU64,
    /// Windows so far.
    windows: AtomicU64,
}

impl InferenceCost {
    /// Adds a run of `windows` that took `took`.
    pub fn add(&self, took: Duration, windows: usize) {
        let sample = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 2) / windows.max(1) as u64;
        let average = match self.average.load(Ordering::Relaxed) {
            0 => sample,
            before => (before * (MEMORY - 1) + sample) / MEMORY,
        };
        self.average.store(average.max(1), Ordering::Relaxed);
        self.windows.fetch_add(windows as u64, Ordering::Relaxed);
    }

    /// Counts a window that the model was not run for.
    pub fn count_skipped(&self) {
        self.windows.fetch_add(1, Ordering::Relaxed);
    }

    /// Windows so far, including those that the model was not run for.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows.load(Ordering::Relaxed)
    }

    /// The average; 0 before the first run.
    #[must_use]
    pub fn per_window(&self) -> Duration {
        Duration::from_nanos(self.average.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_a_window_costs() {
        let cost = InferenceCost::default();
        assert_eq!(cost.per_window(), Duration::ZERO);
        cost.add(Duration::from_millis(8), 4);
        assert_eq!(cost.per_window(), Duration::from_millis(2));
        (0..400).for_each(|_| cost.add(Duration::from_millis(1), 1));
        let now = cost.per_window();
        assert!(now > Duration::from_micros(999) && now < Duration::from_micros(1_001), "{now:?}");
    }
}
