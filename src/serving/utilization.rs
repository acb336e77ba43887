//! How much of the machine the open streams take, if each keeps the pace of speech.
//!
//! In: streams that open and end, what a window costs. Out: a share, known before a new stream's first window is whole: seconds of
//! speech pass until then, too late to find out by a queue that grows. Never refuses by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::batch::InferenceCost;

/// The weight of one interval in the average is one part in so many.
const MEMORY: f64 = 4.0;
/// What a window costs beside the model, as a first guess: ten chunks over gRPC, a second of features, an event.
const BESIDE_THE_MODEL: Duration = Duration::from_micros(400);
/// Fewer windows than these in an interval say nothing of what one costs.
const TELLING: u64 = 20;

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
    /// For `sessions` that take `cost` for each window, of which every channel gives one each `hop`.
    #[must_use]
    pub fn new(cost: Arc<InferenceCost>, sessions: usize, hop: Duration) -> Arc<Self> {
        Arc::new(Self { cost, sessions, hop, channels: AtomicUsize::new(0) })
    }

    /// What a window costs the model.
    #[must_use]
    pub fn cost(&self) -> &InferenceCost {
        &self.cost
    }

    /// Windows a second of the open streams and `more` channels.
    #[must_use]
    pub fn windows_per_second(&self, more: usize) -> f64 {
        (self.channels.load(Ordering::Relaxed) + more) as f64 / self.hop.as_secs_f64()
    }

    /// The share of the sessions' time that they take; 1 is all of it.
    #[must_use]
    pub fn of_sessions(&self, more: usize) -> f64 {
        self.windows_per_second(more) * self.cost.per_window().as_secs_f64() / self.sessions.max(1) as f64
    }

    /// A stream of so many channels opens.
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

/// What a window costs the whole process, from the audio that comes in to the event that goes out.
#[derive(Debug, Default)]
pub struct ProcessorCost {
    /// Nanoseconds of CPU time a window; 0 while nothing is known.
    per_window: AtomicU64,
}

impl ProcessorCost {
    /// A first guess, where a window takes the model so long and nothing has been measured.
    pub fn guess(&self, window_takes: Duration) {
        let guess = (window_takes + BESIDE_THE_MODEL).as_nanos() as u64;
        // Where there is a figure already, that is the better one.
        let _ = self.per_window.compare_exchange(0, guess, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// So much CPU time went into so many windows since the last look.
    pub fn add(&self, cpu: Duration, windows: u64) {
        if windows < TELLING {
            return;
        }
        let sample = cpu.as_nanos() as f64 / windows as f64;
        let average = match self.per_window.load(Ordering::Relaxed) {
            0 => sample,
            before => before as f64 + (sample - before as f64) / MEMORY,
        };
        self.per_window.store(average as u64, Ordering::Relaxed);
    }

    /// The share of `cores` that so many windows a second take; 0 while nothing is known.
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
        cost.add(Duration::from_secs(1), TELLING - 1);
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
