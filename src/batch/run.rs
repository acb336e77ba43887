//! One thread a session: batches in, answers out.
//!
//! In: batches. Out: each batch with one answer a job. A batch that fails is tried once more window by window, so
//! that a bad one does not take its neighbours along. A batch of a newer generation has the thread take a session of
//! that generation first. Never panics on what a session does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Generation, InferenceCost, Job, Scored};
use crate::model::{Contract, EngineError, Session};

/// What turns the features of a batch into probabilities: the model's session, and fakes in tests.
pub trait Infer: Send + 'static {
    /// As [`Session::run`].
    ///
    /// # Errors
    /// As [`Session::run`].
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Vec<f32>) -> Result<(), EngineError>;

    /// Windows that one run takes best; a larger batch is run in parts.
    fn at_once(&self) -> usize {
        usize::MAX
    }
}

impl Infer for Session {
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.run(features, batch, out)
    }

    fn at_once(&self) -> usize {
        Session::max_windows_per_run(self)
    }
}

/// Jobs on their way to a session, with the room that they take.
pub(super) struct Batch<O, I> {
    pub number: u64,
    /// Whose sessions run it; never older than that of the batch before.
    pub generation: Arc<Generation<I>>,
    pub jobs: Vec<Job<O>>,
    pub slot: OwnedSemaphorePermit,
    pub unsent: OwnedSemaphorePermit,
}

/// Answers on their way out, with the room that they take.
pub(super) struct Done<O> {
    pub number: u64,
    pub model: Arc<Contract>,
    pub windows: Vec<Scored<O>>,
    /// Given back when the answers are out.
    pub unsent: OwnedSemaphorePermit,
}

/// Runs batches until none will come or nobody takes the answers.
pub(super) fn run<O, I: Infer>(
    batches: &crossbeam_channel::Receiver<Batch<O, I>>,
    done: &mpsc::Sender<Done<O>>,
    cost: &InferenceCost,
) {
    let mut buffers = Buffers::default();
    let mut current: Option<(Arc<Generation<I>>, I)> = None;
    for Batch { number, generation, jobs, slot, unsent } in batches {
        let (generation, mut session) = match current.take() {
            Some((mine, session)) if Arc::ptr_eq(&mine, &generation) => (mine, session),
            _ => {
                let session = generation.session();
                (generation, session)
            }
        };
        let start = Instant::now();
        let asked = jobs.iter().filter(|job| job.asks_model()).count();
        let meter = &generation.meters.inference_seconds;
        let outcome = infer((&mut session, meter), &jobs, &mut buffers);
        if asked > 0 {
            cost.add(start.elapsed(), asked);
        }
        let windows = match outcome {
            Ok(()) => answers(jobs, &buffers.out, asked),
            Err(error) => {
                tracing::warn!(windows = asked, %error, "a batch failed: trying its windows one by one");
                jobs.into_iter().map(|job| alone((&mut session, meter), job, &mut buffers)).collect()
            }
        };
        generation.came_back(windows.iter().any(|window| window.probabilities.is_ok()));
        drop(slot);
        let model = generation.model.clone();
        current = Some((generation, session));
        if done.blocking_send(Done { number, model, windows, unsent }).is_err() {
            return;
        }
    }
}

/// A row of `out` for each of the `asked` jobs that ask the model, nothing for the others.
fn answers<O>(jobs: Vec<Job<O>>, out: &[f32], asked: usize) -> Vec<Scored<O>> {
    let mut rows = out.chunks_exact((out.len() / asked.max(1)).max(1));
    let mut row = |job: &Job<O>| if job.asks_model() { rows.next().unwrap_or_default() } else { &[] };
    let answer = |job| {
        let probabilities = row(&job).to_vec();
        scored(job, Ok(probabilities))
    };
    jobs.into_iter().map(answer).collect()
}

fn alone<O>(session: (&mut impl Infer, &Histogram), job: Job<O>, buffers: &mut Buffers) -> Scored<O> {
    let result = infer(session, std::slice::from_ref(&job), buffers).map(|()| buffers.out.clone());
    if let Err(error) = &result {
        tracing::error!(%error, "a window has no answer");
    }
    scored(job, result)
}

fn scored<O>(job: Job<O>, probabilities: Result<Vec<f32>, EngineError>) -> Scored<O> {
    Scored { probabilities, origin: job.origin, submitted_at: job.submitted_at }
}

/// What a session reads and writes; kept from batch to batch.
#[derive(Default)]
struct Buffers {
    /// Features of the windows of one run.
    features: Vec<f32>,
    /// What that run gave.
    part: Vec<f32>,
    /// What all runs of the batch gave.
    out: Vec<f32>,
}

/// Runs the jobs that ask the model, as many at once as the session takes best; each run is timed. Whatever goes wrong becomes an error,
/// also a wrong number of values and a panic.
fn infer<O>(
    (session, seconds): (&mut impl Infer, &Histogram),
    jobs: &[Job<O>],
    buffers: &mut Buffers,
) -> Result<(), EngineError> {
    let Buffers { features, part, out } = buffers;
    out.clear();
    let mut asked = jobs.iter().filter(|job| job.asks_model()).peekable();
    while asked.peek().is_some() {
        features.clear();
        let windows = asked.by_ref().take(session.at_once());
        let windows = windows.map(|job| features.extend_from_slice(&job.features)).count();
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| session.infer(features, windows, part)));
        seconds.record(start.elapsed());
        result.unwrap_or_else(|_| Err(EngineError::Run("the session panicked".to_owned())))?;
        if part.is_empty() || !part.len().is_multiple_of(windows) {
            return Err(EngineError::Run(format!("{} output values for {windows} windows", part.len())));
        }
        out.extend_from_slice(part);
    }
    Ok(())
}
