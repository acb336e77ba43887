//! Every job gets exactly one answer, in order, whatever the sessions do; batches grow while they are busy.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_fixture;

use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use affectd::batch::{Batcher, Infer, Job, Origin, ScoredBatch, start};
use affectd::config;
use affectd::model::{Contract, EngineError, Layout, Output};
use proptest::prelude::*;
use tokio::sync::mpsc;

/// A job's place in the queue, and whether its caller has left.
#[derive(Debug)]
struct Ticket {
    number: usize,
    departed: bool,
    live: bool,
    stream: u64,
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

fn ticket(number: usize) -> Ticket {
    Ticket { number, departed: false, live: false, stream: 0 }
}

/// Features of a window that makes every batch with it fail.
const POISON: f32 = -1.0;

/// Answers with the features, after `dawdle` turns; fails on poison, and on each `fails_every`th call.
struct Echo {
    calls: usize,
    fails_every: usize,
    dawdle: usize,
}

impl Infer for Echo {
    fn infer(&mut self, features: &[f32], _batch: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.calls += 1;
        (0..self.dawdle).for_each(|_| std::thread::yield_now());
        assert!(!features.contains(&f32::INFINITY), "a session may panic");
        if features.contains(&POISON) || self.calls.is_multiple_of(self.fails_every) {
            return Err(EngineError::Run("as told".into()));
        }
        out.clear();
        out.extend_from_slice(features);
        Ok(())
    }
}

fn steady() -> Echo {
    Echo { calls: 0, fails_every: usize::MAX, dawdle: 0 }
}

fn options(max_size: usize, max_delay: Duration) -> config::Batch {
    config::Batch { max_size: Some(max_size), max_delay, queue_size: 64, max_age: None }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn contract(version: &str) -> Arc<Contract> {
    let contract = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    Arc::new(Contract { version: version.into(), ..contract })
}

fn started<I: Infer>(
    sessions: Vec<I>,
    options: &config::Batch,
    jobs: mpsc::Receiver<Job<Ticket>>,
    results: mpsc::Sender<ScoredBatch<Ticket>>,
) -> Batcher<I> {
    start(contract("1"), sessions, options, jobs, results)
}

async fn collect(mut results: mpsc::Receiver<ScoredBatch<Ticket>>) -> Vec<ScoredBatch<Ticket>> {
    let mut batches = Vec::new();
    while let Some(batch) = results.recv().await {
        batches.push(batch);
    }
    batches
}

/// Until the queue is empty.
async fn taken(jobs: &mpsc::Sender<Job<Ticket>>) {
    while jobs.capacity() < jobs.max_capacity() {
        tokio::task::yield_now().await;
    }
}

/// What the property varies for each job.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Departed,
    Poison,
    Panics,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        12 => Just(Kind::Plain),
        2 => Just(Kind::Departed),
        1 => Just(Kind::Poison),
        1 => Just(Kind::Panics),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_job_gets_exactly_one_answer_in_order(
        kinds in prop::collection::vec(kind(), 0..80),
        sessions in 1_usize..4,
        max_size in 1_usize..9,
        dawdle in prop::collection::vec(0_usize..40, 4),
    ) {
        let sent = kinds.clone();
        let batches = runtime().block_on(async move {
            let (jobs, queue) = mpsc::channel(4);
            let (results, answers) = mpsc::channel(1);
            let sessions =
                (0..sessions).map(|at| Echo { dawdle: dawdle[at], ..steady() }).collect();
            let batcher = started(sessions, &options(max_size, Duration::ZERO), queue, results);
            let submit = async move {
                for (number, kind) in sent.into_iter().enumerate() {
                    let value = match kind {
                        Kind::Poison => POISON,
                        Kind::Panics => f32::INFINITY,
                        Kind::Plain | Kind::Departed => number as f32,
                    };
                    let origin = Ticket { departed: kind == Kind::Departed, ..ticket(number) };
                    jobs.send(Job::new(vec![value], origin)).await.unwrap();
                }
            };
            let ((), batches) = tokio::join!(submit, collect(answers));
            batcher.join().await;
            batches
        });
        let numbers: Vec<u64> = batches.iter().map(|batch| batch.number).collect();
        prop_assert_eq!(numbers, (0..batches.len() as u64).collect::<Vec<_>>());
        prop_assert!(batches.iter().all(|batch| (1..=max_size).contains(&batch.windows.len())));
        let answered: Vec<_> = batches.into_iter().flat_map(|batch| batch.windows).collect();
        let expected: Vec<usize> = (0..kinds.len()).filter(|at| kinds[*at] != Kind::Departed).collect();
        let found: Vec<usize> = answered.iter().map(|window| window.origin.number).collect();
        prop_assert_eq!(found, expected);
        for window in answered {
            let number = window.origin.number;
            prop_assert_eq!(window.probabilities.is_ok(), kinds[number] == Kind::Plain, "job {}", number);
            if let Ok(probabilities) = window.probabilities {
                prop_assert_eq!(probabilities, vec![number as f32]);
            }
        }
    }
}

#[tokio::test]
async fn a_batch_that_fails_once_is_tried_again_window_by_window() {
    let (jobs, queue) = mpsc::channel(8);
    let (results, answers) = mpsc::channel(8);
    for number in 0..4 {
        jobs.send(Job::new(vec![number as f32], ticket(number))).await.unwrap();
    }
    drop(jobs);
    // The first call fails, and then each seventh: none of the four that follow.
    let flaky = Echo { calls: 6, fails_every: 7, dawdle: 0 };
    let batcher = started(vec![flaky], &options(8, Duration::ZERO), queue, results);
    let batches = collect(answers).await;
    batcher.join().await;
    assert_eq!(batches.len(), 1);
    assert!(batches[0].windows.iter().all(|window| window.probabilities.is_ok()), "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_the_delay_and_no_longer() {
    let (jobs, queue) = mpsc::channel(8);
    let (results, mut answers) = mpsc::channel(8);
    let delay = Duration::from_millis(50);
    let batcher = started(vec![steady()], &options(4, delay), queue, results);
    let start = tokio::time::Instant::now();
    jobs.send(Job::new(vec![0.0], ticket(0))).await.unwrap();
    taken(&jobs).await;
    tokio::time::advance(Duration::from_millis(30)).await;
    jobs.send(Job::new(vec![1.0], ticket(1))).await.unwrap();
    let batch = answers.recv().await.unwrap();
    assert_eq!(batch.windows.len(), 2);
    let waited = start.elapsed();
    assert!(waited >= delay && waited < delay + Duration::from_millis(5), "{waited:?}");

    for number in 2..6 {
        jobs.send(Job::new(vec![0.0], ticket(number))).await.unwrap();
    }
    let full_at = tokio::time::Instant::now();
    assert_eq!(answers.recv().await.unwrap().windows.len(), 4);
    assert!(full_at.elapsed() < Duration::from_millis(5), "a full batch does not wait");
    drop(jobs);
    batcher.join().await;
}

/// Waits for a word from the test before each run.
struct Gated {
    started: mpsc::UnboundedSender<usize>,
    gate: blocking::Receiver<()>,
}

impl Infer for Gated {
    fn infer(&mut self, features: &[f32], batch: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.started.send(batch).unwrap();
        self.gate.recv().unwrap();
        out.clear();
        out.extend_from_slice(features);
        Ok(())
    }
}

#[tokio::test]
async fn batches_grow_while_the_session_is_busy_and_callers_who_left_are_skipped() {
    let (jobs, queue) = mpsc::channel(32);
    let (results, answers) = mpsc::channel(32);
    let (started_runs, mut runs) = mpsc::unbounded_channel();
    let (open, gate) = blocking::channel();
    let session = Gated { started: started_runs, gate };
    let batcher = started(vec![session], &options(32, Duration::ZERO), queue, results);

    jobs.send(Job::new(vec![0.0], ticket(0))).await.unwrap();
    assert_eq!(runs.recv().await, Some(1));
    // The session is busy: one batch may be formed ahead, and all that comes after it forms the next one.
    jobs.send(Job::new(vec![0.0], ticket(1))).await.unwrap();
    taken(&jobs).await;
    for number in 2..12 {
        let origin = Ticket { departed: number == 5, ..ticket(number) };
        jobs.send(Job::new(vec![0.0], origin)).await.unwrap();
    }
    drop(jobs);
    (0..3).for_each(|_| open.send(()).unwrap());
    assert_eq!((runs.recv().await, runs.recv().await), (Some(1), Some(9)));
    let batches = collect(answers).await;
    batcher.join().await;
    let numbers: Vec<usize> =
        batches.iter().flat_map(|batch| &batch.windows).map(|window| window.origin.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
}

#[tokio::test]
async fn the_stage_ends_also_where_nobody_takes_the_answers() {
    let (jobs, queue) = mpsc::channel(1);
    let (results, answers) = mpsc::channel(1);
    drop(answers);
    let batcher = started(vec![steady(), steady()], &options(2, Duration::ZERO), queue, results);
    for number in 0..50 {
        jobs.send(Job::new(vec![0.0], ticket(number))).await.unwrap();
    }
    drop(jobs);
    batcher.join().await;
}

/// The numbers of the answers, a batch a row.
fn numbers(batches: &[ScoredBatch<Ticket>]) -> Vec<Vec<usize>> {
    let row = |batch: &ScoredBatch<Ticket>| batch.windows.iter().map(|window| window.origin.number).collect();
    batches.iter().map(row).collect()
}

#[tokio::test]
async fn a_sender_far_ahead_waits_for_itself_and_others_do_not_wait_for_it() {
    let (jobs, queue) = mpsc::channel(4);
    let (results, answers) = mpsc::channel(32);
    let (started_runs, mut runs) = mpsc::unbounded_channel();
    let (open, gate) = blocking::channel();
    let session = Gated { started: started_runs, gate };
    let batcher = started(vec![session], &options(4, Duration::ZERO), queue, results);
    // The first two fill the session and the batch ahead of it.
    for number in 0..22 {
        jobs.send(Job::new(vec![0.0], ticket(number))).await.unwrap();
        if number < 2 {
            taken(&jobs).await;
        }
    }
    jobs.send(Job::new(vec![0.0], Ticket { stream: 1, ..ticket(100) })).await.unwrap();
    taken(&jobs).await;
    assert_eq!(runs.recv().await, Some(1));
    drop(jobs);
    (0..8).for_each(|_| open.send(()).unwrap());
    let batches = collect(answers).await;
    batcher.join().await;
    let rows = numbers(&batches);
    assert_eq!(rows[..3], [vec![0], vec![1], vec![2, 100, 3, 4]], "{rows:?}");
    let own: Vec<_> = rows.concat().into_iter().filter(|number| *number < 100).collect();
    assert_eq!(own, (0..22).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waited_too_long_is_dropped_for_live_streams_and_for_nobody_else() {
    let (jobs, queue) = mpsc::channel(32);
    let (results, answers) = mpsc::channel(32);
    let long_ago = std::time::Instant::now() - Duration::from_secs(3);
    for number in 0..6 {
        let origin = Ticket { live: number % 2 == 0, ..ticket(number) };
        let submitted_at = if number < 4 { long_ago } else { std::time::Instant::now() };
        jobs.send(Job { submitted_at, ..Job::new(vec![0.0], origin) }).await.unwrap();
    }
    drop(jobs);
    let options = config::Batch { max_age: Some(Duration::from_secs(2)), ..options(8, Duration::ZERO) };
    let batcher = started(vec![steady()], &options, queue, results);
    let rows = numbers(&collect(answers).await);
    batcher.join().await;
    assert_eq!(rows.concat(), [1, 3, 4, 5]);
}

/// Answers with the version that it was made for.
struct Version(f32);

impl Infer for Version {
    fn infer(&mut self, _: &[f32], batch: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        out.clear();
        out.resize(batch, self.0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn sessions_are_replaced_between_batches_and_every_job_is_answered_by_the_model_it_names(
        loads in prop::collection::vec(0_usize..30, 1..6),
        sessions in 1_usize..4,
        max_size in 1_usize..6,
    ) {
        let counts = loads.clone();
        let batches = runtime().block_on(async move {
            let (jobs, queue) = mpsc::channel(4);
            let (results, answers) = mpsc::channel(1);
            let all = |version: usize| (0..sessions).map(|_| Version(version as f32)).collect::<Vec<_>>();
            let options = options(max_size, Duration::ZERO);
            let batcher = start(contract("0"), all(0), &options, queue, results);
            let submit = async move {
                let mut number = 0;
                for (version, count) in counts.into_iter().enumerate() {
                    batcher.replace(contract(&version.to_string()), all(version));
                    for _ in 0..count {
                        jobs.send(Job::new(vec![0.0], ticket(number))).await.unwrap();
                        number += 1;
                    }
                }
                batcher
            };
            let (batcher, batches) = tokio::join!(submit, collect(answers));
            batcher.join().await;
            batches
        });
        let mut newest = 0.0;
        for batch in &batches {
            let version: f32 = batch.model.version.parse().unwrap();
            prop_assert!(version >= newest, "batch {} ran on an older model", batch.number);
            newest = version;
            for window in &batch.windows {
                prop_assert_eq!(window.probabilities.as_deref().unwrap(), &[version]);
            }
        }
        let answered: usize = batches.iter().map(|batch| batch.windows.len()).sum();
        prop_assert_eq!(answered, loads.iter().sum::<usize>());
    }
}
