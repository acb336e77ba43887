//! The sessions of one load of a model.
//!
//! In: sessions, all alike. Out: one for each inference thread, once. Never makes a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::meters::ModelMeters;
use crate::model::Contract;

/// What runs batches until the next load.
#[derive(Debug)]
pub struct Generation<I> {
    /// What the model says of itself; travels with every answer.
    pub model: Arc<Contract>,
    /// What its batches are measured by.
    pub(super) meters: ModelMeters,
    /// Batches in a row, over all sessions, without a single answer.
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

    /// A batch has come back, with an answer or none.
    pub(super) fn came_back(&self, answered: bool) {
        if answered {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether `limit` batches in a row had no answer; those are then forgotten.
    pub(super) fn has_failed(&self, limit: usize) -> bool {
        let keep = |failures: usize| (failures >= limit).then_some(0);
        self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep).is_ok()
    }

    /// A session for the thread that asks for the first time.
    pub(super) fn session(&self) -> I {
        self.pool.try_recv().expect("there is one for each thread, and each asks once")
    }
}
