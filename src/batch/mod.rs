//! Windows of all streams, batched through the model.
//!
//! Input: [`Job`]s (features with their origin). Output: [`ScoredBatch`]es in the order in which batches were formed, with exactly one result
//! for each job whose caller has not left. In data order: `form` (reserves a slot, then forms) → `run` (one thread a session) → `order` (back in
//! order of formation). Sessions are replaced between two batches: all batches before run on the old ones, all after on the new ones.
//!
//! Invariants: the origin of a job is passed on unchanged; at most one batch is formed ahead of the sessions, so batches grow by themselves
//! while the model is busy.

pub mod autotune;
mod cost;
mod fair_queue;
mod form;
mod generation;
mod meters;
mod options;
mod order;
mod policy;
mod reply;
mod run;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, watch};

pub use cost::InferenceCost;
pub use fair_queue::FairQueue;
pub use generation::Generation;
pub use options::Options;
pub use policy::{Forming, Policy};
pub use reply::{ReplyOrigin, ReplyReceiver};
pub use run::Infer;

use crate::model::{Contract, EngineError, Prediction};
use form::BatchQueue;
use run::Batch;

/// The origin of a job, which decides where its result goes.
pub trait Origin {
    /// Whether the caller has left: the job is then dropped before the model runs.
    fn departed(&self) -> bool;

    /// Whether a late result is of no use: such a job may be dropped, any other must not.
    fn is_live(&self) -> bool;

    /// Identifies the stream: streams take turns.
    fn stream(&self) -> u64;
}

/// A window that waits for the model, or a marker that keeps its position among the windows of its stream.
#[derive(Debug)]
pub struct Job<O> {
    /// `[frames, coefficients]`, as the model's contract has them; empty where the model is not run.
    pub features: Vec<f32>,
    /// The origin.
    pub origin: O,
    /// When it was put into the queue.
    pub submitted_at: Instant,
}

impl<O> Job<O> {
    /// A job that is submitted now.
    pub fn new(features: Vec<f32>, origin: O) -> Self {
        Self { features, origin, submitted_at: Instant::now() }
    }

    /// A job that the model is not run for: it only keeps its position among the windows of its stream.
    pub fn silent(origin: O) -> Self {
        Self::new(Vec::new(), origin)
    }

    /// Whether the model is run for it.
    #[must_use]
    pub fn needs_model(&self) -> bool {
        !self.features.is_empty()
    }
}

/// One window with the model's prediction.
#[derive(Debug)]
pub struct Scored<O> {
    /// The prediction, which is empty where the model was not run; or why there is none, after a second try.
    pub prediction: Result<Prediction, EngineError>,
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
    /// The model that ran it.
    pub model: Arc<Contract>,
    /// At least one.
    pub windows: Vec<Scored<O>>,
}

/// The running stage. It ends by itself when all senders of jobs are gone and every job has its result.
#[derive(Debug)]
pub struct Batcher<I> {
    cost: Arc<InferenceCost>,
    current: watch::Sender<Arc<Generation<I>>>,
    forming: tokio::task::JoinHandle<()>,
    order: tokio::task::JoinHandle<()>,
    sessions: Vec<std::thread::JoinHandle<()>>,
}

impl<I> Batcher<I> {
    /// The current cost of a window.
    #[must_use]
    pub fn cost(&self) -> &Arc<InferenceCost> {
        &self.cost
    }

    /// Whether the last result is sent.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.order.is_finished()
    }

    /// Whether the sessions seem to be broken, as where their device is gone: several consecutive batches had no prediction, not even window
    /// by window. Each such series is reported once.
    #[must_use]
    pub fn seems_broken(&self) -> bool {
        let generation = self.current.borrow();
        let broken = generation.has_failed(BROKEN_AFTER);
        if broken {
            tracing::error!(model = generation.model.full_name(), "batch after batch fails");
        }
        broken
    }

    /// Inference threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.sessions.len()
    }

    /// Runs all batches that are formed from now on with `sessions`, of which there must be as many as before, for the same features. Batches
    /// already formed run on the old sessions.
    ///
    /// # Panics
    /// Where the number of sessions differs.
    pub fn replace(&self, model: Arc<Contract>, sessions: Vec<I>) {
        assert_eq!(sessions.len(), self.sessions.len(), "one session for each inference thread");
        self.current.send_replace(Arc::new(Generation::new(model, sessions)));
    }

    /// Waits until the last result is sent and the threads have ended. Dropping the future leaves the stage running.
    pub async fn join(self) {
        // A panic of a task has been printed by then.
        let _ = self.forming.await;
        let _ = self.order.await;
        for session in self.sessions {
            let _ = session.join();
        }
    }
}

/// The most windows in one batch, where `batch.max_size` is neither set nor measured.
pub const DEFAULT_SIZE: usize = 32;

/// Consecutive batches without a prediction after which sessions count as broken.
pub const BROKEN_AFTER: usize = 3;

/// The queue of the stage: half of the jobs that may wait do so here, the others in the sub-queue of their stream.
#[must_use]
pub fn inbox<O>(options: &Options) -> (mpsc::Sender<Job<O>>, mpsc::Receiver<Job<O>>) {
    mpsc::channel(options.queue_size.div_ceil(2).max(1))
}

/// Starts the stage on the sessions of a model (or on anything that infers), at least one, inside a tokio runtime.
pub fn start<O: Origin + Send + 'static, I: Infer>(
    model: Arc<Contract>,
    sessions: Vec<I>,
    options: &Options,
    jobs: mpsc::Receiver<Job<O>>,
    results: mpsc::Sender<ScoredBatch<O>>,
) -> Batcher<I> {
    let threads = sessions.len();
    let (current, generations) = watch::channel(Arc::new(Generation::new(model, sessions)));
    let ahead = threads + 1;
    let queue = BatchQueue {
        jobs,
        generations,
        policy: Policy {
            max_size: options.max_size.unwrap_or(DEFAULT_SIZE).max(1),
            max_delay: options.max_delay,
            max_age: options.max_age,
        },
        waiting: FairQueue::default(),
        capacity: (options.queue_size / 2).max(1),
        slots: Arc::new(Semaphore::new(ahead)),
        // Results of later batches wait for those of a slow one: at most this many.
        unsent: Arc::new(Semaphore::new(ahead * 4)),
    };
    let (batches, waiting) = crossbeam_channel::bounded::<Batch<O, I>>(ahead);
    let (done, finished) = mpsc::channel(ahead * 4);
    let cost = Arc::new(InferenceCost::default());
    let threads = (0..threads).map(|index| {
        let (waiting, done, cost) = (waiting.clone(), done.clone(), cost.clone());
        std::thread::Builder::new()
            .name(format!("inference-{index}"))
            .spawn(move || run::run(&waiting, &done, &cost))
            .expect("the system has a thread for each session")
    });
    Batcher {
        current,
        sessions: threads.collect(),
        cost,
        forming: tokio::spawn(form::form(queue, batches)),
        order: tokio::spawn(order::order(finished, results)),
    }
}
