//! Windows of all streams, batched through the model.
//!
//! In: [`Job`]s (features and where they came from). Out: [`ScoredBatch`]es in the order in which batches were
//! formed, exactly one answer for each job whose origin is still there. In data order: `form` (reserve a slot,
//! then form) → `run` (one thread a session) → `order` (back in order of formation).
//!
//! Never decides what an answer is for: the origin travels along untouched. Never holds more than one batch ahead
//! of the sessions, so batches grow by themselves while the model is busy.

mod form;
mod order;
mod policy;
mod run;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

pub use policy::{Forming, Policy};
pub use run::Infer;

use crate::config;
use crate::model::{EngineError, Model};
use form::Former;
use run::Batch;

/// Where a window came from and where its answer goes.
pub trait Origin {
    /// Nobody waits for the answer any more: the window is dropped before it costs anything.
    fn departed(&self) -> bool;
}

/// One window that waits for the model.
#[derive(Debug)]
pub struct Job<O> {
    /// `[frames, coefficients]`, as the model's contract has them.
    pub features: Vec<f32>,
    /// Where it came from.
    pub origin: O,
    /// When it was put into the queue.
    pub submitted_at: Instant,
}

impl<O> Job<O> {
    /// A window that begins to wait now.
    pub fn new(features: Vec<f32>, origin: O) -> Self {
        Self { features, origin, submitted_at: Instant::now() }
    }
}

/// One window with the model's answer.
#[derive(Debug)]
pub struct Scored<O> {
    /// One probability for each label of the contract; or why the model gave none, after a second try.
    pub probabilities: Result<Vec<f32>, EngineError>,
    /// As it came with the job.
    pub origin: O,
    /// As it came with the job.
    pub submitted_at: Instant,
}

/// The windows of one batch, in the order in which they were submitted.
#[derive(Debug)]
pub struct ScoredBatch<O> {
    /// Counts batches from 0, without a gap.
    pub number: u64,
    /// At least one.
    pub windows: Vec<Scored<O>>,
}

/// The running stage. It ends by itself when all senders of jobs are gone and every job is answered.
#[derive(Debug)]
pub struct Batcher {
    former: tokio::task::JoinHandle<()>,
    order: tokio::task::JoinHandle<()>,
    sessions: Vec<std::thread::JoinHandle<()>>,
}

impl Batcher {
    /// Waits until the last answer is out and the threads have ended. Dropping the future leaves the stage running.
    pub async fn join(self) {
        // A panic of a task has been printed by then, and there is nobody left to answer.
        let _ = self.former.await;
        let _ = self.order.await;
        for session in self.sessions {
            let _ = session.join();
        }
    }
}

/// Starts the stage on the model's sessions, inside a tokio runtime.
pub fn start<O: Origin + Send + 'static>(
    model: Model,
    options: &config::Batch,
    jobs: mpsc::Receiver<Job<O>>,
    results: mpsc::Sender<ScoredBatch<O>>,
) -> Batcher {
    start_with(model.sessions, options, jobs, results)
}

/// Starts the stage on anything that infers; at least one session.
pub fn start_with<O: Origin + Send + 'static>(
    sessions: Vec<impl Infer>,
    options: &config::Batch,
    jobs: mpsc::Receiver<Job<O>>,
    results: mpsc::Sender<ScoredBatch<O>>,
) -> Batcher {
    let ahead = sessions.len() + 1;
    let former = Former {
        jobs,
        policy: Policy { max_size: options.max_size.max(1), max_delay: options.max_delay },
        slots: Arc::new(Semaphore::new(ahead)),
        // A slow batch holds back the answers of later ones: so many may wait behind it.
        unsent: Arc::new(Semaphore::new(ahead * 4)),
    };
    let (batches, waiting) = crossbeam_channel::bounded::<Batch<O>>(ahead);
    let (done, finished) = mpsc::channel(ahead * 4);
    let sessions = sessions
        .into_iter()
        .enumerate()
        .map(|(index, session)| {
            let (waiting, done) = (waiting.clone(), done.clone());
            std::thread::Builder::new()
                .name(format!("inference-{index}"))
                .spawn(move || run::run(session, &waiting, &done))
                .expect("the system has a thread for each session")
        })
        .collect();
    Batcher {
        former: tokio::spawn(form::form(former, batches)),
        order: tokio::spawn(order::order(finished, results)),
        sessions,
    }
}
