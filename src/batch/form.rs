//! Reserve a slot first, then form the batch from what waits.
//!
//! In: jobs. Out: numbered batches, never more than the sessions can take plus one. Streams take turns. Whoever left is
//! dropped here, and so is what became too old for a live stream.

use std::sync::Arc;

use metrics::gauge;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::policy::Next;
use super::run::Batch;
use super::{FairQueue, Forming, Generation, Job, Origin, Policy};
use crate::telemetry::metrics as meter;
use crate::telemetry::metrics::QUEUE_DEPTH;

/// What forms batches.
pub(super) struct Former<O, I> {
    pub jobs: mpsc::Receiver<Job<O>>,
    /// The sessions that run the batches from now on.
    pub generations: watch::Receiver<Arc<Generation<I>>>,
    pub policy: Policy,
    /// Jobs that have left the channel.
    pub waiting: FairQueue<Job<O>>,
    /// How many those may be.
    pub capacity: usize,
    /// One for each session and one more.
    pub slots: Arc<Semaphore>,
    /// Batches whose answers are not out yet.
    pub unsent: Arc<Semaphore>,
}

/// Forms batches until all senders of jobs are gone and none waits.
pub(super) async fn form<O: Origin, I>(
    mut former: Former<O, I>,
    batches: crossbeam_channel::Sender<Batch<O, I>>,
) {
    for number in 0.. {
        // Jobs that come meanwhile stay in their channel: a busy model is no reason to wake up for each of them.
        let Ok(unsent) = Arc::clone(&former.unsent).acquire_owned().await else { return };
        let Ok(slot) = Arc::clone(&former.slots).acquire_owned().await else { return };
        let Some(jobs) = former.next_batch().await else { return };
        gauge!(QUEUE_DEPTH, "stage" => "batch").set((former.jobs.len() + former.waiting.len()) as f64);
        let generation = former.generations.borrow_and_update().clone();
        let asked = jobs.iter().filter(|job| job.asks_model());
        let waited = |job: &&Job<O>| generation.meters.queue_seconds.record(job.submitted_at.elapsed());
        let asked = asked.inspect(waited).count();
        if asked > 0 {
            generation.meters.batch_size.record(asked as f64);
        }
        // Never full: a slot was reserved. It fails only where the runtime has gone and took the receivers along.
        if batches.try_send(Batch { number, generation, jobs, slot, unsent }).is_err() {
            return;
        }
    }
}

impl<O: Origin, I> Former<O, I> {
    /// The next batch, at least one job; `None` when there will be no more.
    ///
    /// Dropping the future drops the jobs that it has taken.
    async fn next_batch(&mut self) -> Option<Vec<Job<O>>> {
        let mut forming = Forming::new(self.policy);
        loop {
            self.take_in();
            while !forming.is_full() {
                let Some(job) = self.waiting.pop() else { break };
                // The delay counts from the submission: what queued while the model was busy has waited already.
                let since = Instant::from_std(job.submitted_at).min(Instant::now());
                if job.origin.departed() || self.policy.is_stale(&job) {
                    meter::window("dropped");
                } else {
                    forming.push(job, since);
                }
            }
            let received = match forming.next(Instant::now()) {
                Next::Go => return Some(forming.into_items()),
                Next::Wait => Some(self.jobs.recv().await?),
                Next::WaitUntil(deadline) => {
                    match tokio::time::timeout_at(deadline, self.jobs.recv()).await {
                        Ok(Some(job)) => Some(job),
                        // No more will come, or the time is up.
                        Ok(None) | Err(_) => return Some(forming.into_items()),
                    }
                }
            };
            received.into_iter().for_each(|job| self.waiting.push(job.origin.stream(), job));
        }
    }

    /// Empties the channel, as far as there is room.
    fn take_in(&mut self) {
        while self.waiting.len() < self.capacity {
            let Ok(job) = self.jobs.try_recv() else { return };
            self.waiting.push(job.origin.stream(), job);
        }
    }
}
