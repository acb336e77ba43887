//! Every stream's end follows its last window.

use std::sync::mpsc as blocking;

use affectd::batch::ScoredBatch;
use affectd::serving::{JobOrigin, StreamSinks};
use affectd::shard::{ShardMessage, StreamKey};
use tokio::sync::mpsc;

use super::pipeline::{ASSIGNMENT, CallStream, audio, bounded, pipeline, served, stalled};

/// Indexes of each stream's windows in the order in which they come, and `None` for its end, until so many have come in all.
async fn passed(
    results: &mut mpsc::Receiver<ScoredBatch<JobOrigin>>,
    (windows, ends): (usize, usize),
) -> Vec<(String, Option<u64>)> {
    let (mut all, mut ended) = (Vec::new(), 0);
    while ended < ends || all.len() < windows + ends {
        for window in bounded(results.recv()).await.unwrap().windows {
            match window.origin {
                JobOrigin::Window(window) => {
                    all.push((window.stream.stream_id.to_string(), Some(window.index)))
                }
                JobOrigin::StreamEnd(stream) => {
                    ended += 1;
                    all.push((stream.stream_id.to_string(), None));
                }
                JobOrigin::Clip(_) | JobOrigin::CallStream(_) => panic!("there are no clips and no calls"),
            }
        }
    }
    all
}

fn of<'a>(all: &'a [(String, Option<u64>)], stream_id: &'a str) -> Vec<Option<u64>> {
    all.iter().filter(|(id, _)| id == stream_id).map(|(_, what)| *what).collect()
}

#[tokio::test]
async fn the_end_of_a_stream_follows_its_last_window() {
    let (scored, mut results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    let (sink, _events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    let mut streams: Vec<_> = (0..4).map(|number| CallStream::new(number, &model)).collect();
    // Windows of the streams alternate; each stream ends in another way.
    for offset in 0..4 {
        for stream in &mut streams {
            stream.send(&pipeline, stream.number == 0 && offset == 3).await;
        }
        pipeline.record("last", &model, 10 + offset, audio(offset == 3)).await;
        pipeline.record("revoked", &model, 20 + offset, audio(false)).await;
    }
    pipeline.send(ShardMessage::Close { key: StreamKey::Session(1), credits: None }).await;
    pipeline.send(ShardMessage::Forget(StreamKey::Session(2))).await;
    pipeline.send(ShardMessage::Forget(StreamKey::Session(3))).await;
    let mut all = passed(&mut results, (18, 5)).await;
    pipeline.send(ShardMessage::ForgetAssignment(ASSIGNMENT)).await;
    all.extend(passed(&mut results, (0, 1)).await);
    for id in ["call-0", "call-1", "call-2", "call-3", "last", "revoked"] {
        assert_eq!(of(&all, id), [Some(0), Some(1), Some(2), None], "{id}: {all:?}");
    }
}

#[tokio::test]
async fn a_stream_without_windows_ends_too_and_one_of_the_same_name_is_another() {
    let (scored, mut results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    let (sink, _events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    // Half a second: shorter than `window.min_length`.
    pipeline.record("kafka", &model, 0, audio(true)).await;
    for offset in 1..4 {
        pipeline.record("kafka", &model, offset, audio(offset == 3)).await;
    }
    let all = passed(&mut results, (2, 2)).await;
    assert_eq!(of(&all, "kafka"), [None, Some(0), Some(1), None]);
}

#[tokio::test]
async fn the_end_comes_behind_a_blocked_model_as_well() {
    let (scored, mut results) = mpsc::channel(64);
    let (gate, waiting) = blocking::channel();
    let (slow, _batcher) = served("slow", Some(waiting), &scored);
    let pipeline = pipeline(&StreamSinks::default());
    let (mut closed, mut left) = (CallStream::new(1, &slow), CallStream::new(2, &slow));
    for _ in 0..10 {
        closed.send(&pipeline, false).await;
        left.send(&pipeline, false).await;
    }
    pipeline.send(ShardMessage::Close { key: StreamKey::Session(1), credits: None }).await;
    left.inbox.close();
    pipeline.send(ShardMessage::Forget(StreamKey::Session(2))).await;
    drop(gate);
    let all = passed(&mut results, (9, 2)).await;
    let expected: Vec<_> = (0..9).map(Some).chain([None]).collect();
    assert_eq!(of(&all, "call-1"), expected);
    // Windows that waited in the shard are dropped with a stream that is forgotten, and its end still comes last.
    let left = of(&all, "call-2");
    assert!(left.len() < 10 && left.ends_with(&[None]), "{left:?}");
    assert_eq!(left[..left.len() - 1], expected[..left.len() - 1]);
}
