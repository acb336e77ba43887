//! Every job gets exactly one result, in order, whatever the sessions do; batches grow while the sessions are busy.

use std::sync::mpsc as blocking;
use std::time::Duration;

use affectd::batch::Job;
use proptest::prelude::*;
use tokio::sync::mpsc;

use crate::support::batch_fixture::{
    Echo, Gated, POISON, Ticket, collect, options, runtime, started, steady, taken, ticket,
};

/// What the property varies for each job.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Departed,
    Poison,
    Panics,
    Silent,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        12 => Just(Kind::Plain),
        2 => Just(Kind::Departed),
        1 => Just(Kind::Poison),
        1 => Just(Kind::Panics),
        4 => Just(Kind::Silent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_job_gets_exactly_one_result_in_order(
        kinds in prop::collection::vec(kind(), 0..80),
        sessions in 1_usize..4,
        max_size in 1_usize..9,
        at_once in 1_usize..9,
        dawdle in prop::collection::vec(0_usize..40, 4),
    ) {
        let sent = kinds.clone();
        let batches = runtime().block_on(async move {
            let (jobs, queue) = mpsc::channel(4);
            let (results, answers) = mpsc::channel(1);
            let sessions =
                (0..sessions).map(|at| Echo { at_once, dawdle: dawdle[at], ..steady() }).collect();
            let batcher = started(sessions, &options(max_size, Duration::ZERO), queue, results);
            let submit = async move {
                for (number, kind) in sent.into_iter().enumerate() {
                    let value = match kind {
                        Kind::Poison => POISON,
                        Kind::Panics => f32::INFINITY,
                        Kind::Plain | Kind::Departed | Kind::Silent => number as f32,
                    };
                    let origin = Ticket { departed: kind == Kind::Departed, ..ticket(number) };
                    let job = match kind {
                        Kind::Silent => Job::silent(origin),
                        _ => Job::new(vec![value], origin),
                    };
                    jobs.send(job).await.unwrap();
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
            let expected = match kinds[number] {
                Kind::Plain => Some(vec![number as f32]),
                Kind::Silent => Some(vec![]),
                _ => None,
            };
            prop_assert_eq!(window.prediction.ok().map(|it| it.scores), expected, "job {}", number);
        }
    }
}

#[tokio::test]
async fn a_failed_batch_is_retried_window_by_window() {
    let (jobs, queue) = mpsc::channel(8);
    let (results, answers) = mpsc::channel(8);
    for number in 0..4 {
        jobs.send(Job::new(vec![number as f32], ticket(number))).await.unwrap();
    }
    drop(jobs);
    // The first call fails, and then each seventh: none of the four that follow.
    let flaky = Echo { calls: 6, fails_every: 7, ..steady() };
    let batcher = started(vec![flaky], &options(8, Duration::ZERO), queue, results);
    let batches = collect(answers).await;
    batcher.join().await;
    assert_eq!(batches.len(), 1);
    assert!(batches[0].windows.iter().all(|window| window.prediction.is_ok()), "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partial_batch_waits_for_max_delay_and_no_longer() {
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

#[tokio::test]
async fn batches_grow_while_the_session_is_busy_and_departed_callers_are_skipped() {
    let (jobs, queue) = mpsc::channel(32);
    let (results, answers) = mpsc::channel(32);
    let (started_runs, mut runs) = mpsc::unbounded_channel();
    let (open, gate) = blocking::channel();
    let session = Gated { started: started_runs, gate };
    let batcher = started(vec![session], &options(32, Duration::ZERO), queue, results);

    jobs.send(Job::new(vec![0.0], ticket(0))).await.unwrap();
    assert_eq!(runs.recv().await, Some(1));
    // The session is busy: one batch may be formed ahead, and all later jobs form the next one.
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
async fn the_stage_ends_when_the_results_receiver_is_dropped() {
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
