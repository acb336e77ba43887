//! The share of the machine that the open streams take at the pace of speech.
//!
//! Input: streams that open and end, the cost of a window. Output: a share that is known before a new stream's first window is complete. That
//! takes seconds of speech, so a queue that grows would show an overload too late. Nothing is refused here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::batch::InferenceCost;

/// One interval has the weight 1 / `MEMORY` in the average.
const MEMORY: f64 = 4.0;
/// First guess of a window's cost besides the model: ten chunks over gRPC, a second of features, an event.
const BESIDE_THE_MODEL: Duration = Duration::from_micros(400);
/// Intervals with fewer windows are not used: the cost of one would be too uncertain.
const LEAST_WINDOWS: u64 = 20;

/// The load that one model's streams put on its sessions.
#[derive(Debug)]
pub struct Utilization {
    cost: Arc<InferenceCost>,
    sessions: usize,
    hop: Duration,
    /// Channels of open streams.
    channels: AtomicUsize,
}

/// An open stream's part of the load; dropped, it is gone.
#[derive(Debug)]
pub struct AdmissionPermit {
    utilization: Arc<Utilization>,
    channels: usize,
}

impl Utilization {
    /// For `sessions` with `cost` for each window, of which every channel gives one each `hop`.
    #[must_use]
    pub fn new(cost: Arc<InferenceCost>, sessions: usize, hop: Duration) -> Arc<Self> {
        Arc::new(Self { cost, sessions, hop, channels: AtomicUsize::new(0) })
    }

    /// The model's cost of a window.
    #[must_use]
    pub fn cost(&self) -> &InferenceCost {
        &self.cost
    }

    /// Windows a second of the open streams and `more` channels.
    #[must_use]
    pub fn windows_per_second(&self, more: usize) -> f64 {
        (self.channels.load(Ordering::Relaxed) + more) as f64 / self.hop.as_secs_f64()
    }

    /// The share of the sessions' time that the open streams and `more` channels take; 1 is all of it.
    #[must_use]
    pub fn of_sessions(&self, more: usize) -> f64 {
        self.windows_per_second(more) * self.cost.per_window().as_secs_f64() / self.sessions.max(1) as f64
    }

    /// Counts a stream of `channels` until the permit is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, channels: usize) -> AdmissionPermit {
        self.channels.fetch_add(channels, Ordering::Relaxed);
        AdmissionPermit { utilization: self.clone(), channels }
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        self.utilization.channels.fetch_sub(self.channels, Ordering::Relaxed);
    }
}

/// The cost of a window for the whole process, from the audio to the event.
#[derive(Debug, Default)]
pub struct ProcessorCost {
    /// Nanoseconds of CPU time a window; 0 while nothing is known.
    per_window: AtomicU64,
}

impl ProcessorCost {
    /// Sets a first guess from the model's time for a window, unless a cost has been measured.
    pub fn guess(&self, window_takes: Duration) {
        let guess = (window_takes + BESIDE_THE_MODEL).as_nanos() as u64;
        // A cost that is known already is the better one.
        let _ = self.per_window.compare_exchange(0, guess, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Adds an interval in which `windows` took `cpu` time.
    pub fn add(&self, cpu: Duration, windows: u64) {
        if windows < LEAST_WINDOWS {
            return;
        }
        let sample = cpu.as_nanos() as f64 / windows as f64;
        let average = match self.per_window.load(Ordering::Relaxed) {
            0 => sample,
            before => before as f64 + (sample - before as f64) / MEMORY,
        };
        self.per_window.store(average as u64, Ordering::Relaxed);
    }

    /// The share of `cores` that `windows_per_second` take; 0 while nothing is known.
    #[must_use]
    pub fn of_cores(&self, windows_per_second: f64, cores: usize) -> f64 {
        windows_per_second * self.per_window.load(Ordering::Relaxed) as f64 * 1e-9 / cores.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_count_by_their_channels_while_they_are_open() {
        let cost = Arc::new(InferenceCost::default());
        let load = Utilization::new(cost.clone(), 2, Duration::from_secs(1));
        assert!(load.of_sessions(1_000) < f64::EPSILON, "nothing is known before the first run");
        cost.add(Duration::from_millis(1), 1);
        let stereo = load.enter(2);
        let _mono = load.enter(1);
        assert!((load.of_sessions(1) - 0.002).abs() < 1e-9, "{}", load.of_sessions(1));
        drop(stereo);
        assert!((load.of_sessions(0) - 0.000_5).abs() < 1e-9, "{}", load.of_sessions(0));
    }

    #[test]
    fn the_processors_share_follows_the_measured_cost_of_a_window() {
        let cost = ProcessorCost::default();
        cost.add(Duration::from_secs(1), LEAST_WINDOWS - 1);
        assert!(cost.of_cores(1e6, 1) < f64::EPSILON, "too few windows tell nothing");
        cost.guess(Duration::from_micros(100));
        assert!((cost.of_cores(1_000.0, 1) - 0.5).abs() < 1e-6, "{}", cost.of_cores(1_000.0, 1));
        cost.add(Duration::from_millis(500), 1_000);
        cost.guess(Duration::from_secs(1));
        assert!((cost.of_cores(2_000.0, 2) - 0.5).abs() < 1e-6, "{}", cost.of_cores(2_000.0, 2));
        (0..40).for_each(|_| cost.add(Duration::from_millis(1_000), 1_000));
        assert!((cost.of_cores(1_000.0, 1) - 1.0).abs() < 1e-3, "{}", cost.of_cores(1_000.0, 1));
    }
}
