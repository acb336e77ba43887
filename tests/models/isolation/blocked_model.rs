//! A blocked model delays only its own streams, and what waited for it is freed or given.

use std::sync::mpsc as blocking;

use affectd::serving::StreamSinks;
use affectd::shard::{ShardMessage, StreamKey};
use tokio::sync::mpsc;

use super::pipeline::{CallStream, Pipeline, bounded, pipeline, publish, served};

#[tokio::test]
async fn a_blocked_model_delays_only_its_own_streams() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _slow_batcher) = served("slow", Some(waiting), &scored);
    let (fast, _fast_batcher) = served("fast-one", None, &scored);
    publish(results);
    let pipeline = pipeline(&StreamSinks::default());
    let (mut one, mut other) = (CallStream::new(1, &slow), CallStream::new(2, &slow));
    let mut quick = CallStream::new(3, &fast);
    // Far more windows than the slow model's queue holds, and more messages than the inbox of the shard.
    for _ in 0..20 {
        one.send(&pipeline, false).await;
        other.send(&pipeline, false).await;
    }
    for index in 0..20 {
        quick.send(&pipeline, false).await;
        if index > 0 {
            assert_eq!(quick.events(1).await, [index - 1], "while no window of the slow model is done");
        }
    }
    assert!(one.inbox.try_recv().is_err() && other.inbox.try_recv().is_err());
    drop(gate);
    let all: Vec<u64> = (0..19).collect();
    assert_eq!((one.events(19).await, other.events(19).await), (all.clone(), all));
    assert_eq!(slow.share.available_permits(), 64, "every place is released");
}

#[tokio::test]
async fn a_client_that_leaves_frees_what_waited_for_a_blocked_model() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _batcher) = served("slow", Some(waiting), &scored);
    publish(results);
    let pipeline = pipeline(&StreamSinks::default());
    let mut stream = CallStream::new(1, &slow);
    for _ in 0..20 {
        stream.send(&pipeline, false).await;
    }
    stream.inbox.close();
    pipeline.send(ShardMessage::Forget(StreamKey::Session(1))).await;
    // All places come free while the model is still blocked.
    drop(bounded(slow.share.clone().acquire_many_owned(64)).await.unwrap());
    drop(gate);
}

#[tokio::test]
async fn a_refused_call_gets_the_events_of_the_audio_before() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _batcher) = served("slow", Some(waiting), &scored);
    publish(results);
    let pipeline = pipeline(&StreamSinks::default());
    let mut stream = CallStream::new(1, &slow);
    for _ in 0..20 {
        stream.send(&pipeline, false).await;
    }
    pipeline.send(ShardMessage::Forget(StreamKey::Session(1))).await;
    drop(gate);
    assert_eq!(stream.events(19).await, (0..19).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_drain_gives_the_windows_that_waited() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, batcher) = served("slow", Some(waiting), &scored);
    publish(results);
    drop(scored);
    let pipeline = pipeline(&StreamSinks::default());
    let mut stream = CallStream::new(1, &slow);
    stream.send(&pipeline, false).await;
    stream.send(&pipeline, false).await;
    for _ in 0..8 {
        stream.send(&pipeline, false).await;
    }
    let key = StreamKey::Session(1);
    pipeline.send(ShardMessage::Close { key, credits: None }).await;
    let Pipeline { shards, threads, .. } = pipeline;
    drop(shards);
    drop(gate);
    assert_eq!(stream.events(9).await, (0..9).collect::<Vec<_>>());
    bounded(tokio::task::spawn_blocking(move || threads.join())).await.unwrap();
    drop((stream, slow));
    bounded(batcher.join()).await;
}
