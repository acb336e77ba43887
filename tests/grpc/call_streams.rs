//! Streams of one call: what each of them adds to the summary, and how each of them ends.

use affectd::proto::{AudioChunk, CallSummary, ChannelSummary, Encoding};
use tonic::transport::Channel;

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, format, last, loud, metric_reaches, more, noise, recognize, soft,
    telephone, tiny,
};
use crate::support::daemon::Daemon;
use crate::support::websocket_client::summary;

async fn daemon() -> (tempfile::TempDir, Daemon) {
    let (folder, options) = tiny();
    (folder, options.set("calls.linger", "1s").start().await)
}

/// The first chunk of a stream of a call.
fn first(call_id: &str, stream_id: &str, channel: &str, audio: Vec<u8>) -> AudioChunk {
    let attributes = [("call_id".to_owned(), call_id.to_owned())].into();
    AudioChunk { attributes, channel_names: vec![channel.to_owned()], ..chunk(stream_id, telephone(), audio) }
}

/// The figures of a channel's emotions.
fn figures(summary: &CallSummary) -> (Vec<f64>, Option<f64>, u64) {
    let ChannelSummary { emotion_shares, valence, windows, .. } = &summary.channels[0];
    (emotion_shares.iter().map(|it| it.share).collect(), *valence, *windows)
}

#[tokio::test]
async fn streams_of_one_channel_that_speak_at_once_count_each_for_its_whole_time() {
    let (_folder, daemon) = daemon().await;
    let connection = connect(&daemon).await;
    let (high, low) = (loud(40_000, 1), soft(40_000, 1));
    for (call_id, audio) in [("high", &high), ("low", &low)] {
        recognize(&connection, vec![last(first(call_id, call_id, "customer", audio.clone()))]).await.good();
    }
    let mut one = Call::begin(&connection, first("both", "b", "customer", high)).await;
    one.event().await;
    let mut other = Call::begin(&connection, first("both", "c", "customer", low)).await;
    other.event().await;
    one.close();
    one.rest().await.good();
    other.close();
    other.rest().await.good();
    let mut figures_of = Vec::new();
    for call_id in ["high", "low", "both"] {
        figures_of.push(figures(&summary(&daemon, call_id).await));
    }
    let [high, low, both] = &figures_of[..] else { panic!("three calls") };
    assert!((high.1.unwrap() - low.1.unwrap()).abs() > 0.1, "the streams differ: {figures_of:?}");
    assert_eq!(both.2, high.2 + low.2);
    let mean = (high.1.unwrap() + low.1.unwrap()) / 2.0;
    assert!((both.1.unwrap() - mean).abs() < 1e-6, "{figures_of:?}");
    assert!((both.0.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{figures_of:?}");
}

#[tokio::test]
async fn the_same_audio_at_another_time_is_not_the_same_channel() {
    let (_folder, daemon) = daemon().await;
    let connection = connect(&daemon).await;
    for (stream, channel) in [("a", "announcement"), ("b", "queue")] {
        recognize(&connection, vec![last(first("call", stream, channel, noise(16_000, 1)))]).await.good();
    }
    let found = summary(&daemon, "call").await;
    assert_eq!((found.channels.len(), found.audio.unwrap().identical_channels), (2, false));
}

#[tokio::test]
async fn a_gap_between_two_chunks_is_a_hole_of_lost_audio() {
    let (_folder, daemon) = daemon().await;
    let gap = AudioChunk { first_sample: Some(20_000), ..more(noise(8_000, 2)) };
    let chunks = vec![first("call", "a", "customer", noise(16_000, 1)), last(gap)];
    recognize(&connect(&daemon).await, chunks).await.good();
    let audio = summary(&daemon, "call").await.audio.unwrap();
    assert_eq!((audio.holes, audio.lost.unwrap().nanos), (1, 500_000_000));
}

/// Sends the chunks of a call's stream and returns how the call ended, and its duration in seconds.
async fn end_of(daemon: &Daemon, connection: &Channel, name: &str, chunks: Vec<AudioChunk>) -> (String, i64) {
    let [begin, more @ ..] = chunks.as_slice() else { panic!("no chunk") };
    let begin = AudioChunk { stream_id: name.to_owned(), ..begin.clone() };
    let call = Call::begin(connection, begin).await;
    for chunk in more {
        call.send(chunk.clone()).await;
    }
    call.finish().await;
    let found = summary(daemon, name).await;
    (found.end_reason, found.duration.unwrap().seconds)
}

#[tokio::test]
async fn a_call_ends_with_an_error_where_any_of_its_audio_is_refused() {
    let (_folder, options) = tiny();
    let daemon = options.set("calls.linger", "0s").set("calls.summaries", "all").start().await;
    let connection = &connect(&daemon).await;
    let begin = |audio| chunk("", telephone(), audio);
    let far = |audio: Vec<u8>| AudioChunk { first_sample: Some(u64::MAX), ..more(audio) };
    let audio = || noise(16_000, 1);
    let odd = AudioChunk { format: Some(format(Encoding::PcmS16le, 8_000, 1)), ..begin(vec![0; 16_001]) };
    for (name, chunks, expected) in [
        ("regular", vec![begin(audio())], ("completed", 2)),
        ("refused", vec![begin(audio()), far(audio())], ("error", 2)),
        ("refused-last", vec![begin(audio()), last(far(audio()))], ("error", 2)),
        ("half-a-sample", vec![odd], ("error", 1)),
    ] {
        let (reason, seconds) = end_of(&daemon, connection, name, chunks).await;
        assert_eq!((reason.as_str(), seconds), expected, "{name}");
    }
    let mut call =
        Call::begin(connection, AudioChunk { stream_id: "cancelled".to_owned(), ..begin(audio()) }).await;
    call.event().await;
    // Both sides of the call are dropped, which cancels it.
    drop(call);
    assert_eq!(summary(&daemon, "cancelled").await.end_reason, "disconnected");
    bounded("no stream", metric_reaches(&daemon, "affectd_streams_active", |active| active == 0.0)).await;
}
