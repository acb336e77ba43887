//! Forms batches: reserves a slot first, then fills the batch with the jobs that wait.
//!
//! Input: jobs. Output: numbered batches, at most one more than the sessions can run. Streams take turns. Jobs whose caller has left are
//! dropped here, and so are jobs of live streams that became too old.
//!
//! A slot is reserved before the batch is formed, so that jobs wait in the queue, where they join the next batch, and not in a batch that is
//! already formed: batches grow by themselves while the model is busy.

use std::sync::Arc;

use metrics::gauge;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::policy::Next;
use super::run::Batch;
use super::{FairQueue, Forming, Generation, Job, Origin, Policy};
use crate::telemetry::metrics as meter;
use crate::telemetry::metrics::QUEUE_DEPTH;

/// The queue that batches are formed from.
pub(super) struct BatchQueue<O, I> {
    pub jobs: mpsc::Receiver<Job<O>>,
    /// The sessions that run the batches from now on.
    pub generations: watch::Receiver<Arc<Generation<I>>>,
    pub policy: Policy,
    /// Jobs that have left the channel.
    pub waiting: FairQueue<Job<O>>,
    /// The most jobs in `waiting`.
    pub capacity: usize,
    /// One for each session and one more.
    pub slots: Arc<Semaphore>,
    /// Batches whose results are not sent yet.
    pub unsent: Arc<Semaphore>,
}

/// Forms batches until all senders of jobs are gone and none waits.
pub(super) async fn form<O: Origin, I>(
    mut queue: BatchQueue<O, I>,
    batches: crossbeam_channel::Sender<Batch<O, I>>,
) {
    for number in 0.. {
        // Jobs that arrive while no session is free stay in their channel, so that a busy model does not wake this task for each of them.
        let Ok(unsent) = Arc::clone(&queue.unsent).acquire_owned().await else { return };
        let Ok(slot) = Arc::clone(&queue.slots).acquire_owned().await else { return };
        let Some(jobs) = queue.next_batch().await else { return };
        gauge!(QUEUE_DEPTH, "stage" => "batch").set((queue.jobs.len() + queue.waiting.len()) as f64);
        let generation = queue.generations.borrow_and_update().clone();
        let needed = jobs.iter().filter(|job| job.needs_model());
        let waited = |job: &&Job<O>| generation.meters.queue_seconds.record(job.submitted_at.elapsed());
        let needed = needed.inspect(waited).count();
        if needed > 0 {
            generation.meters.batch_size.record(needed as f64);
        }
        // Never full, as a slot was reserved. It fails only where the runtime has stopped and dropped the receivers.
        if batches.try_send(Batch { number, generation, jobs, slot, unsent }).is_err() {
            return;
        }
    }
}

impl<O: Origin, I> BatchQueue<O, I> {
    /// Returns the next batch of at least one job; `None` once all senders are gone and no job waits.
    ///
    /// Not cancel safe: dropping the future drops the jobs that it has removed from the queue.
    async fn next_batch(&mut self) -> Option<Vec<Job<O>>> {
        let mut forming = Forming::new(self.policy);
        loop {
            self.take_in();
            while !forming.is_full() {
                let Some(job) = self.waiting.pop() else { break };
                // The delay counts from the submission: a job that queued while the model was busy has waited already.
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
                        // All senders are gone, or the delay is over.
                        Ok(None) | Err(_) => return Some(forming.into_items()),
                    }
                }
            };
            received.into_iter().for_each(|job| self.waiting.push(job.origin.stream(), job));
        }
    }

    /// Moves jobs from the channel to the queues of their streams, as far as there is room.
    fn take_in(&mut self) {
        while self.waiting.len() < self.capacity {
            let Ok(job) = self.jobs.try_recv() else { return };
            self.waiting.push(job.origin.stream(), job);
        }
    }
}
