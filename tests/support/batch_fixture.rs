//! Jobs and sessions for tests of the batcher: numbered tickets, and sessions that echo, fail, wait or yield.
//!
//! Input: what a test varies. Output: batches in the order of their results. Holds no assertion about affectd.

use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use affectd::batch::{Batcher, Infer, Job, Origin, ScoredBatch, start};
use affectd::config;
use affectd::model::{Contract, EngineError, Layout, Output, Predictions};
use tokio::sync::mpsc;

use super::model_fixture;

/// The number of a job, and whether its caller has departed.
#[derive(Debug)]
pub struct Ticket {
    pub number: usize,
    pub departed: bool,
    pub live: bool,
    pub stream: u64,
}

impl Origin for Ticket {
    fn departed(&self) -> bool {
        self.departed
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn stream(&self) -> u64 {
        self.stream
    }
}

pub fn ticket(number: usize) -> Ticket {
    Ticket { number, departed: false, live: false, stream: 0 }
}

/// A feature value that makes every batch with it fail.
pub const POISON: f32 = -1.0;

/// Returns the features as scores after `dawdle` yields. Fails on [`POISON`] and on each `fails_every`th call. Returns wrong scores
/// for batches larger than `at_once`.
pub struct Echo {
    pub at_once: usize,
    pub calls: usize,
    pub fails_every: usize,
    pub dawdle: usize,
}

impl Infer for Echo {
    fn at_once(&self) -> usize {
        self.at_once
    }

    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError> {
        self.calls += 1;
        (0..self.dawdle).for_each(|_| std::thread::yield_now());
        assert!(!features.contains(&f32::INFINITY), "a session may panic");
        if features.contains(&POISON) || self.calls.is_multiple_of(self.fails_every) {
            return Err(EngineError::Run("requested by the test".into()));
        }
        out.clear();
        out.scores.extend_from_slice(features);
        if batch > self.at_once {
            out.scores.fill(f32::MAX);
        }
        Ok(())
    }
}

pub fn steady() -> Echo {
    Echo { at_once: usize::MAX, calls: 0, fails_every: usize::MAX, dawdle: 0 }
}

pub fn options(max_size: usize, max_delay: Duration) -> config::Batch {
    config::Batch { max_size: Some(max_size), max_delay, queue_size: 64, max_age: None }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

pub fn contract(version: &str) -> Arc<Contract> {
    let contract = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    Arc::new(Contract { version: version.into(), ..contract })
}

pub fn started<I: Infer>(
    sessions: Vec<I>,
    options: &config::Batch,
    jobs: mpsc::Receiver<Job<Ticket>>,
    results: mpsc::Sender<ScoredBatch<Ticket>>,
) -> Batcher<I> {
    start(contract("1"), sessions, options, jobs, results)
}

pub async fn collect(mut results: mpsc::Receiver<ScoredBatch<Ticket>>) -> Vec<ScoredBatch<Ticket>> {
    let mut batches = Vec::new();
    while let Some(batch) = results.recv().await {
        batches.push(batch);
    }
    batches
}

/// Waits until the queue is empty.
pub async fn taken(jobs: &mpsc::Sender<Job<Ticket>>) {
    while jobs.capacity() < jobs.max_capacity() {
        tokio::task::yield_now().await;
    }
}

/// Waits for a message of the test before each run.
pub struct Gated {
    pub started: mpsc::UnboundedSender<usize>,
    pub gate: blocking::Receiver<()>,
}

impl Infer for Gated {
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError> {
        self.started.send(batch).unwrap();
        self.gate.recv().unwrap();
        out.clear();
        out.scores.extend_from_slice(features);
        Ok(())
    }
}

/// The numbers of the jobs in each batch.
pub fn numbers(batches: &[ScoredBatch<Ticket>]) -> Vec<Vec<usize>> {
    let row = |batch: &ScoredBatch<Ticket>| batch.windows.iter().map(|window| window.origin.number).collect();
    batches.iter().map(row).collect()
}
