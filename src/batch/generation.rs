//! The sessions of one load of a model.
//!
//! Input: sessions of equal configuration. Output: one for each inference thread, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::meters::ModelMeters;
use crate::model::Contract;

/// The sessions that run batches until the next load.
#[derive(Debug)]
pub struct Generation<I> {
    /// The model's contract, which is part of every result.
    pub model: Arc<Contract>,
    /// The metrics of its batches.
    pub(super) meters: ModelMeters,
    /// Consecutive batches, over all sessions, without a single prediction.
    failures: AtomicUsize,
    /// One for each inference thread.
    pool: crossbeam_channel::Receiver<I>,
}

impl<I> Generation<I> {
    /// A generation of `sessions`, as many as there are inference threads.
    pub(super) fn new(model: Arc<Contract>, sessions: Vec<I>) -> Self {
        let (full, pool) = crossbeam_channel::bounded(sessions.len().max(1));
        for session in sessions {
            assert!(full.try_send(session).is_ok(), "there is room for each");
        }
        Self { meters: ModelMeters::of(&model.full_name()), model, failures: AtomicUsize::new(0), pool }
    }

    /// Records whether a batch had any prediction.
    pub(super) fn record_outcome(&self, answered: bool) {
        if answered {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether `limit` consecutive batches had no prediction. If so, the count starts again.
    pub(super) fn has_failed(&self, limit: usize) -> bool {
        let keep = |failures: usize| (failures >= limit).then_some(0);
        self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep).is_ok()
    }

    /// Returns the session of a thread. Each thread may call it once.
    pub(super) fn session(&self) -> I {
        self.pool.try_recv().expect("there is one session for each thread, and each thread calls this once")
    }
}
