//! Which jobs form a batch and which sessions run it: fairness, age limit, and replacement of sessions between batches.

use std::sync::mpsc as blocking;
use std::time::Duration;

use affectd::batch::{BROKEN_AFTER, Infer, Job, inbox, start};
use affectd::config;
use affectd::model::{EngineError, Predictions};
use proptest::prelude::*;
use tokio::sync::mpsc;

use crate::support::batch_fixture::{
    Echo, Gated, POISON, Ticket, collect, contract, numbers, options, runtime, started, steady, taken, ticket,
};

#[tokio::test]
async fn a_stream_with_many_queued_jobs_does_not_delay_other_streams() {
    let options = options(4, Duration::ZERO);
    let (jobs, queue) = inbox(&options);
    let (results, answers) = mpsc::channel(32);
    let (started_runs, mut runs) = mpsc::unbounded_channel();
    let (open, gate) = blocking::channel();
    let session = Gated { started: started_runs, gate };
    let batcher = started(vec![session], &options, queue, results);
    // The first two fill the session and the batch ahead of it.
    for number in 0..22 {
        jobs.send(Job::new(vec![0.0], ticket(number))).await.unwrap();
        if number < 2 {
            taken(&jobs).await;
        }
    }
    jobs.send(Job::new(vec![0.0], Ticket { stream: 1, ..ticket(100) })).await.unwrap();
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
async fn jobs_older_than_max_age_are_dropped_for_live_streams_only() {
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

#[tokio::test]
async fn sessions_count_as_broken_after_consecutive_failed_batches_until_they_are_replaced() {
    let (jobs, queue) = mpsc::channel(1);
    let (results, mut answers) = mpsc::channel(1);
    let broken = Echo { fails_every: 1, ..steady() };
    let batcher = started(vec![broken], &options(1, Duration::ZERO), queue, results);
    // The feature of each window, whether the sessions then seem broken, and the next session.
    for number in 0..7 {
        let fails = number < BROKEN_AFTER;
        jobs.send(Job::new(vec![1.0], ticket(number))).await.unwrap();
        let batch = answers.recv().await.unwrap();
        assert_eq!(batch.windows[0].prediction.is_err(), fails, "window {number}");
        assert_eq!(batcher.seems_broken(), number + 1 == BROKEN_AFTER, "after window {number}");
        if number + 1 == BROKEN_AFTER {
            assert!(!batcher.seems_broken(), "reported once");
            batcher.replace(contract("2"), vec![steady()]);
        }
    }
    drop(jobs);
    batcher.join().await;
}

#[tokio::test]
async fn a_successful_batch_resets_the_count_of_failed_batches() {
    let (jobs, queue) = mpsc::channel(1);
    let (results, mut answers) = mpsc::channel(1);
    let batcher = started(vec![steady()], &options(1, Duration::ZERO), queue, results);
    for number in 0..4 * BROKEN_AFTER {
        let value = if number.is_multiple_of(BROKEN_AFTER) { 1.0 } else { POISON };
        jobs.send(Job::new(vec![value], ticket(number))).await.unwrap();
        let batch = answers.recv().await.unwrap();
        assert_eq!(batch.windows[0].prediction.is_err(), !number.is_multiple_of(BROKEN_AFTER));
        assert!(!batcher.seems_broken(), "after window {number}");
    }
    drop(jobs);
    batcher.join().await;
}

/// Returns the version that it was created for.
struct Version(f32);

impl Infer for Version {
    fn infer(&mut self, _: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError> {
        out.clear();
        out.scores.resize(batch, self.0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn sessions_are_replaced_between_batches_and_each_job_runs_on_the_model_that_it_names(
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
                prop_assert_eq!(&window.prediction.as_ref().unwrap().scores, &[version]);
            }
        }
        let answered: usize = batches.iter().map(|batch| batch.windows.len()).sum();
        prop_assert_eq!(answered, loads.iter().sum::<usize>());
    }
}
