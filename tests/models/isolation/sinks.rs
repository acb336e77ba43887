//! A sink that takes nothing delays only the streams that feed it.

use affectd::serving::StreamSinks;
use affectd::stream::Chunk;
use tokio::sync::mpsc;

use super::pipeline::{
    CallStream, audio, bounded, index_of, model_audio, pipeline, publish, served, stalled,
};

#[tokio::test]
async fn replies_do_not_wait_for_a_stalled_sink() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (sink, mut events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![sink.clone()], partitions: vec![sink] });
    let mut stream = CallStream::new(1, &model);
    for _ in 0..21 {
        stream.send(&pipeline, false).await;
    }
    assert_eq!(stream.events(20).await, (0..20).collect::<Vec<_>>(), "and the sink has taken none yet");
    for index in 0..20 {
        let delivered = events.try_recv().unwrap();
        assert!(index_of(&delivered) == index && delivered.settles.is_none());
    }
}

#[tokio::test]
async fn a_full_sink_delays_only_the_streams_that_feed_it() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (full, mut taken) = stalled(2);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![full] });
    for offset in 0..12 {
        pipeline.record("kafka", &model, offset, audio(offset == 11)).await;
    }
    let mut stream = CallStream::new(1, &model);
    for index in 0..20 {
        stream.send(&pipeline, false).await;
        if index > 0 {
            assert_eq!(stream.events(1).await, [index - 1]);
        }
    }
    for index in 0..11 {
        let event = bounded(taken.recv()).await.unwrap();
        let settles = event.settles.as_ref().unwrap();
        assert_eq!((index_of(&event), settles.ticket.index), (index, index));
    }
    assert!(taken.try_recv().is_err());
    pipeline.accepted(12);
}

#[tokio::test]
async fn a_record_with_more_windows_than_may_wait_gives_them_all_in_order() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (sink, mut taken) = stalled(2);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    // As large as `audio.max_chunk_bytes` allows: 131 seconds.
    let large = model_audio().into_iter().cycle().take(1 << 20).collect::<Vec<_>>();
    pipeline.record("large", &model, 0, Chunk { audio: large.into(), ..audio(true) }).await;
    for index in 0..261 {
        assert_eq!(index_of(&bounded(taken.recv()).await.unwrap()), index);
    }
    pipeline.accepted(1);
}
