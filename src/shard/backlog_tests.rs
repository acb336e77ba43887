//! Tests of the backlog: streams wait, take turns, and are never left behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::backlog::Backlog;
use super::block_on::Parker;
use super::{ShardMessage, StreamKey};
use crate::batch::Job;
use crate::model::ModelSource;
use crate::serving::{CallMarker, JobOrigin, ServedModel, StreamSinks, Utilization};
use crate::stream::{StreamInfo, StreamSetup};
use crate::{audio, window};

/// A model whose queue has room for one job.
fn model() -> (Arc<ServedModel>, mpsc::Receiver<Job<JobOrigin>>) {
    let contract = ModelSource::BuiltIn.contract().unwrap();
    let setup = StreamSetup::new(&contract, &window::Options::default(), &audio::Options::default()).unwrap();
    let (jobs, queue) = mpsc::channel(1);
    let utilization = Utilization::new(Arc::default(), 1, Duration::from_secs(1));
    let room = || Arc::new(Semaphore::new(1));
    let (contract, share, ahead, backlog) = (Arc::new(contract), room(), room(), room());
    let shadows = Vec::new();
    let served = ServedModel {
        contract,
        setup,
        setup_number: 1,
        jobs,
        share,
        ahead,
        backlog,
        is_only: false,
        utilization,
        shadows,
    };
    (Arc::new(served), queue)
}

fn job() -> Job<JobOrigin> {
    Job::silent(JobOrigin::StreamEnd(Arc::default()))
}

#[test]
fn a_stream_does_not_wait_where_room_has_come_before_it_is_parked() {
    let (model, mut queue) = model();
    let (mut backlog, key) = (Backlog::new(StreamSinks::default()), StreamKey::Session(1));
    backlog.submit(&model, job());
    backlog.submit(&model, job());
    queue.try_recv().unwrap();
    backlog.park(&key);
    assert!(!backlog.waits(&key) && backlog.is_empty());
    queue.try_recv().unwrap();
}

#[test]
fn a_stream_waits_with_its_messages_and_streams_take_turns() {
    let (model, mut queue) = model();
    let (mut backlog, one, other) =
        (Backlog::new(StreamSinks::default()), StreamKey::Session(1), StreamKey::Session(2));
    backlog.submit(&model, job());
    for key in [&one, &other] {
        backlog.submit(&model, job());
        backlog.submit(&model, job());
        backlog.park(key);
        assert!(backlog.waits(key));
        backlog.defer(key, ShardMessage::Forget(key.clone()));
    }
    let parker = Parker::new();
    let mut turns = Vec::new();
    while !backlog.is_empty() {
        queue.try_recv().unwrap();
        let room = parker.block_on(std::future::poll_fn(|context| backlog.poll(context)));
        let key = backlog.use_room(room).unwrap();
        while let Some(ShardMessage::Forget(forgotten)) = backlog.next_message(&key) {
            assert_eq!(forgotten, key);
            turns.push(None);
        }
        turns.push(Some(key));
    }
    let expected = [Some(&one), Some(&other), None, Some(&one), None, Some(&other)];
    assert_eq!(turns.iter().map(Option::as_ref).collect::<Vec<_>>(), expected);
    queue.try_recv().unwrap();
    assert!(queue.try_recv().is_err());
}

#[test]
fn the_end_of_a_stream_is_not_dropped_with_its_jobs() {
    let (model, mut queue) = model();
    let (mut backlog, key) = (Backlog::new(StreamSinks::default()), StreamKey::Session(1));
    backlog.submit(&model, job());
    let stream = Arc::new(StreamInfo::default());
    let marker = CallMarker { stream: stream.clone(), end: None };
    backlog.submit(&model, Job::silent(JobOrigin::CallStream(Box::new(marker))));
    backlog.submit(&model, Job::silent(JobOrigin::StreamEnd(stream.clone())));
    backlog.park(&key);
    backlog.forget(&key);
    queue.try_recv().unwrap();
    let room = Parker::new().block_on(std::future::poll_fn(|context| backlog.poll(context)));
    assert!(backlog.use_room(room).is_none() && backlog.is_empty());
    let left = queue.try_recv().unwrap().origin;
    assert!(matches!(left, JobOrigin::StreamEnd(ended) if Arc::ptr_eq(&ended, &stream)));
}
