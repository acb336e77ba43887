//! Files: decoding one delays no other stream, and goes on only as its model does.

use std::sync::mpsc as blocking;

use affectd::audio::AudioFormat;
use affectd::serving::{Decoders, StreamSinks};
use affectd::shard::PartitionReport;
use affectd::stream::Chunk;
use tokio::sync::mpsc;

use super::pipeline::{PATIENCE, audio, bounded, model_audio, next_of, pipeline, publish, served, stalled};
use crate::support::decoder_entries::file_fixture::{MU_LAW, wav};

/// A file of `hops` hops, whole or without its last byte.
fn file(hops: usize, is_whole: bool) -> Chunk {
    let mut bytes = wav(MU_LAW, 8, 1, 8_000, &model_audio().repeat(hops));
    bytes.truncate(bytes.len() - usize::from(!is_whole));
    Chunk { format: Some(AudioFormat::FILE), audio: bytes.into(), last: true, ..Chunk::default() }
}

/// Keeps every thread for decoding, one for two cores, busy until the returned senders are dropped.
async fn occupy(decoders: &Decoders) -> Vec<blocking::Sender<()>> {
    let (begin, mut begun) = mpsc::channel(1);
    let mut busy = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get().div_ceil(2) {
        let (sender, released) = blocking::channel::<()>();
        let (decoders, begin) = (decoders.clone(), begin.clone());
        let step = move || {
            begin.blocking_send(()).unwrap();
            // Fails once the sender is dropped.
            _ = released.recv();
        };
        tokio::spawn(async move { decoders.run(step).await });
        bounded(begun.recv()).await.unwrap();
        busy.push(sender);
    }
    busy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_decoded_delays_no_other_stream_of_its_shard() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (sink, mut events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    let busy = occupy(&pipeline.decoders).await;
    pipeline.record("file", &model, 0, file(10, true)).await;
    // A second stream of the same id waits behind the file.
    pipeline.record("file", &model, 1, audio(false)).await;
    for offset in 2..6 {
        pipeline.record("samples", &model, offset, audio(false)).await;
    }
    pipeline.accepted(4);
    for index in 0..3 {
        assert_eq!(next_of(&mut events).await, ("samples".to_owned(), index));
    }
    drop(busy);
    pipeline.accepted(2);
    for index in 0..9 {
        assert_eq!(next_of(&mut events).await, ("file".to_owned(), index));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_decoded_goes_on_only_as_its_model_does() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _slow_batcher) = served("slow", Some(waiting), &scored);
    let (fast, _fast_batcher) = served("fast-one", None, &scored);
    publish(results);
    let (sink, mut events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    pipeline.record("file", &slow, 0, file(40, true)).await;
    pipeline.record("broken", &fast, 1, file(40, false)).await;
    let refused = loop {
        match pipeline.reports.recv_timeout(PATIENCE).unwrap() {
            PartitionReport::Refused { offset, reason, .. } => break (offset, reason),
            PartitionReport::WindowSubmitted(ticket) => {
                assert_eq!(ticket.needed_from, 0, "it needs the whole file")
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused.0, 1);
    assert!(refused.1.contains("truncated"), "{}", refused.1);
    for offset in 2..6 {
        pipeline.record("samples", &fast, offset, audio(false)).await;
    }
    pipeline.accepted(4);
    for index in 0..3 {
        assert_eq!(next_of(&mut events).await, ("samples".to_owned(), index));
    }
    drop(gate);
    pipeline.accepted(1);
    for index in 0..39 {
        assert_eq!(next_of(&mut events).await, ("file".to_owned(), index));
    }
}
