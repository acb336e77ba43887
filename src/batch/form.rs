//! Reserve a slot first, then form the batch from what waits.
//!
//! In: jobs. Out: numbered batches, never more than the sessions can take plus one. Whoever left is dropped here.

use std::sync::Arc;

use metrics::{gauge, histogram};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::policy::Next;
use super::run::Batch;
use super::{Forming, Job, Origin, Policy};
use crate::metrics::{self as meter, BATCH_SIZE, QUEUE_DEPTH, QUEUE_SECONDS};

/// What forms batches.
pub(super) struct Former<O> {
    pub jobs: mpsc::Receiver<Job<O>>,
    pub policy: Policy,
    /// One for each session and one more.
    pub slots: Arc<Semaphore>,
    /// Batches whose answers are not out yet.
    pub unsent: Arc<Semaphore>,
}

/// Forms batches until all senders of jobs are gone and none waits.
pub(super) async fn form<O: Origin>(mut former: Former<O>, batches: crossbeam_channel::Sender<Batch<O>>) {
    for number in 0.. {
        let unsent = Arc::clone(&former.unsent).acquire_owned().await;
        let slot = Arc::clone(&former.slots).acquire_owned().await;
        let (Ok(slot), Ok(unsent)) = (slot, unsent) else { return };
        let Some(jobs) = next_batch(&mut former.jobs, former.policy).await else { return };
        gauge!(QUEUE_DEPTH, "stage" => "batch").set(former.jobs.len() as f64);
        histogram!(BATCH_SIZE).record(jobs.len() as f64);
        for job in &jobs {
            histogram!(QUEUE_SECONDS).record(job.submitted_at.elapsed());
        }
        // Never full: a slot was reserved. It fails only where the runtime has gone and took the receivers along.
        if batches.try_send(Batch { number, jobs, slot, unsent }).is_err() {
            return;
        }
    }
}

/// The next batch, at least one job; `None` when there will be no more.
///
/// Dropping the future drops the jobs that it has taken.
async fn next_batch<O: Origin>(jobs: &mut mpsc::Receiver<Job<O>>, policy: Policy) -> Option<Vec<Job<O>>> {
    let mut forming = Forming::new(policy);
    loop {
        while !forming.is_full() {
            match jobs.try_recv() {
                Ok(job) if job.origin.departed() => meter::window("dropped"),
                Ok(job) => take(&mut forming, job),
                Err(_) => break,
            }
        }
        let received = match forming.next(Instant::now()) {
            Next::Go => return Some(forming.into_items()),
            Next::Wait => Some(jobs.recv().await?),
            Next::WaitUntil(deadline) => match tokio::time::timeout_at(deadline, jobs.recv()).await {
                Ok(Some(job)) => Some(job),
                // No more will come, or the time is up.
                Ok(None) | Err(_) => return Some(forming.into_items()),
            },
        };
        match received {
            Some(job) if job.origin.departed() => meter::window("dropped"),
            Some(job) => take(&mut forming, job),
            None => {}
        }
    }
}

/// The delay counts from the submission: what queued while the model was busy has waited already.
fn take<O>(forming: &mut Forming<Job<O>>, job: Job<O>) {
    let since = Instant::from_std(job.submitted_at).min(Instant::now());
    forming.push(job, since);
}
