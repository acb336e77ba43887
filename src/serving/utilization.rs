//! How much of the sessions' time the open streams take, if each keeps the pace of speech.
//!
//! In: streams that open and end, the cost of a window. Out: a share, known before a new stream's first window is whole: seconds of
//! speech pass until then, too late to find out by a queue that grows. Never refuses by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::batch::InferenceCost;

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
pub struct Seat {
    utilization: Arc<Utilization>,
    channels: usize,
}

impl Utilization {
    /// For `sessions` that take `cost` for each window, of which every channel gives one each `hop`.
    #[must_use]
    pub fn new(cost: Arc<InferenceCost>, sessions: usize, hop: Duration) -> Arc<Self> {
        Arc::new(Self { cost, sessions, hop, channels: AtomicUsize::new(0) })
    }

    /// The share of the sessions' time that open streams take, with `more` channels beside them; 1 is all of it.
    #[must_use]
    pub fn with(&self, more: usize) -> f64 {
        let windows = (self.channels.load(Ordering::Relaxed) + more) as f64;
        windows * self.cost.per_window().as_secs_f64()
            / (self.hop.as_secs_f64() * self.sessions.max(1) as f64)
    }

    /// A stream of so many channels opens.
    #[must_use]
    pub fn enter(self: &Arc<Self>, channels: usize) -> Seat {
        self.channels.fetch_add(channels, Ordering::Relaxed);
        Seat { utilization: self.clone(), channels }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.utilization.channels.fetch_sub(self.channels, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_count_by_their_channels_while_they_are_open() {
        let cost = Arc::new(InferenceCost::default());
        let load = Utilization::new(cost.clone(), 2, Duration::from_secs(1));
        assert!(load.with(1_000) < f64::EPSILON, "nothing is known before the first run");
        cost.add(Duration::from_millis(1), 1);
        let stereo = load.enter(2);
        let _mono = load.enter(1);
        assert!((load.with(1) - 0.002).abs() < 1e-9, "{}", load.with(1));
        drop(stereo);
        assert!((load.with(0) - 0.000_5).abs() < 1e-9, "{}", load.with(0));
    }
}
