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
}

impl Infer for Session {
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.run(features, batch, out)
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
    let (mut features, mut out) = (Vec::new(), Vec::new());
    let mut current: Option<(Arc<Generation<I>>, I)> = None;
    for Batch { number, generation, jobs, slot, unsent } in batches {
        let (generation, mut session) = match current.take() {
            Some((mine, session)) if Arc::ptr_eq(&mine, &generation) => (mine, session),
            _ => {
                let session = generation.session();
                (generation, session)
            }
        };
        features.clear();
        jobs.iter().for_each(|job| features.extend_from_slice(&job.features));
        let start = Instant::now();
        let asked = jobs.iter().filter(|job| job.asks_model()).count();
        let meter = &generation.meters.inference_seconds;
        let outcome = infer((&mut session, meter), &features, asked, &mut out);
        if asked > 0 {
            cost.add(start.elapsed(), asked);
        }
        let windows = match outcome {
            Ok(()) => answers(jobs, &out, asked),
            Err(error) => {
                tracing::warn!(windows = asked, %error, "a batch failed: trying its windows one by one");
                jobs.into_iter().map(|job| alone((&mut session, meter), job, &mut out)).collect()
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

fn alone<O>(session: (&mut impl Infer, &Histogram), job: Job<O>, out: &mut Vec<f32>) -> Scored<O> {
    let asked = usize::from(job.asks_model());
    let result = infer(session, &job.features, asked, out).map(|()| out.clone());
    if let Err(error) = &result {
        tracing::error!(%error, "a window has no answer");
    }
    scored(job, result)
}

fn scored<O>(job: Job<O>, probabilities: Result<Vec<f32>, EngineError>) -> Scored<O> {
    Scored { probabilities, origin: job.origin, submitted_at: job.submitted_at }
}

/// One timed run; none for a batch of 0. Whatever goes wrong becomes an error, also a wrong number of values and a panic.
fn infer(
    (session, seconds): (&mut impl Infer, &Histogram),
    features: &[f32],
    batch: usize,
    out: &mut Vec<f32>,
) -> Result<(), EngineError> {
    if batch == 0 {
        out.clear();
        return Ok(());
    }
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| session.infer(features, batch, out)));
    seconds.record(start.elapsed());
    result.unwrap_or_else(|_| Err(EngineError::Run("the session panicked".to_owned())))?;
    if out.is_empty() || !out.len().is_multiple_of(batch) {
        return Err(EngineError::Run(format!("{} output values for {batch} windows", out.len())));
    }
    Ok(())
}
