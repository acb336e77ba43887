//! One thread a session: runs batches.
//!
//! Input: batches. Output: each batch with one prediction, or one error, a job. A batch that fails is tried once more window by window, so
//! that one bad window does not fail its neighbours. Before a batch of a newer generation the thread takes a session of that generation.
//! Invariant: a panic of a session becomes an error of its windows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Generation, InferenceCost, Job, Scored};
use crate::model::{Contract, EngineError, Prediction, Predictions, Session};

/// Turns the features of a batch into predictions: the model's session, and fakes in tests.
pub trait Infer: Send + 'static {
    /// As [`Session::predict`].
    ///
    /// # Errors
    /// As [`Session::predict`].
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError>;

    /// The number of windows beyond which a window costs more in a larger run; a larger batch is run in parts.
    fn at_once(&self) -> usize {
        usize::MAX
    }
}

impl Infer for Session {
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError> {
        self.predict(features, batch, out)
    }

    fn at_once(&self) -> usize {
        Session::max_windows_per_run(self)
    }
}

/// A batch on its way to a session, with the room that it takes.
pub(super) struct Batch<O, I> {
    pub number: u64,
    /// The generation whose sessions run it; never older than that of the batch before.
    pub generation: Arc<Generation<I>>,
    pub jobs: Vec<Job<O>>,
    pub slot: OwnedSemaphorePermit,
    pub unsent: OwnedSemaphorePermit,
}

/// The results of a batch, with the room that they take.
pub(super) struct Done<O> {
    pub number: u64,
    pub model: Arc<Contract>,
    pub windows: Vec<Scored<O>>,
    /// Released when the results are sent.
    pub unsent: OwnedSemaphorePermit,
}

/// Runs batches until all senders are gone, or the receiver of the results is.
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
        let needed = jobs.iter().filter(|job| job.needs_model()).count();
        let meter = &generation.meters.inference_seconds;
        let outcome = infer((&mut session, meter), &jobs, &mut buffers);
        if needed > 0 {
            cost.add(start.elapsed(), needed);
        }
        let windows = match outcome {
            Ok(()) => answers(jobs, &buffers.out, needed),
            Err(error) => {
                tracing::warn!(windows = needed, %error, "a batch failed: trying its windows one by one");
                jobs.into_iter().map(|job| alone((&mut session, meter), job, &mut buffers)).collect()
            }
        };
        if needed > 0 {
            // Windows that the model is not run for always succeed and show nothing about the session.
            let predicted =
                |window: &Scored<O>| window.prediction.as_ref().is_ok_and(|it| !it.scores.is_empty());
            generation.record_outcome(windows.iter().any(predicted));
        }
        drop(slot);
        let model = generation.model.clone();
        current = Some((generation, session));
        if done.blocking_send(Done { number, model, windows, unsent }).is_err() {
            return;
        }
    }
}

/// Returns a row of `out` for each of the `needed` jobs that the model was run for, and an empty prediction for the others.
fn answers<O>(jobs: Vec<Job<O>>, out: &Predictions, needed: usize) -> Vec<Scored<O>> {
    let mut rows = out.rows(needed);
    let answer = |job: Job<O>| {
        let prediction = if job.needs_model() { rows.next() } else { None };
        scored(job, Ok(prediction.unwrap_or_default()))
    };
    jobs.into_iter().map(answer).collect()
}

fn alone<O>(session: (&mut impl Infer, &Histogram), job: Job<O>, buffers: &mut Buffers) -> Scored<O> {
    let result = infer(session, std::slice::from_ref(&job), buffers);
    if let Err(error) = &result {
        tracing::error!(%error, "no prediction for a window");
    }
    scored(job, result.map(|()| buffers.out.rows(1).next().unwrap_or_default()))
}

fn scored<O>(job: Job<O>, prediction: Result<Prediction, EngineError>) -> Scored<O> {
    Scored { prediction, origin: job.origin, submitted_at: job.submitted_at }
}

/// The buffers that a session reads and writes, kept from batch to batch.
#[derive(Default)]
struct Buffers {
    /// Features of the windows of one run.
    features: Vec<f32>,
    /// The predictions of that run.
    part: Predictions,
    /// The predictions of all runs of the batch.
    out: Predictions,
}

/// Runs the model for the jobs that need it, at most [`Infer::at_once`] at a time; each run is timed. A wrong number of values and a panic
/// become errors too.
fn infer<O>(
    (session, seconds): (&mut impl Infer, &Histogram),
    jobs: &[Job<O>],
    buffers: &mut Buffers,
) -> Result<(), EngineError> {
    let Buffers { features, part, out } = buffers;
    out.clear();
    let mut needed = jobs.iter().filter(|job| job.needs_model()).peekable();
    while needed.peek().is_some() {
        features.clear();
        let windows = needed.by_ref().take(session.at_once());
        let windows = windows.map(|job| features.extend_from_slice(&job.features)).count();
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| session.infer(features, windows, part)));
        seconds.record(start.elapsed());
        result.unwrap_or_else(|_| Err(EngineError::Run("the session panicked".to_owned())))?;
        if !part.divides_into(windows) {
            let found = part.scores.len() + part.values.len() + part.out_of_domain.len();
            return Err(EngineError::Run(format!("{found} output values for {windows} windows")));
        }
        out.append(part);
    }
    Ok(())
}
