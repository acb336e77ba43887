//! Files and messages that would take much memory or time: compressed silence, uploads that never end, fields without audio.

use std::time::{Duration, Instant};

use affectd::proto::{AudioChunk, Encoding};
use tonic::Code;

use crate::support::call_fixture::{
    Call, chunk, connect, format, last, metric_reaches, more, noise, recognize, telephone, tiny,
};
use crate::support::flac_bomb;
use crate::support::victim::Victim;

const LIMIT: Duration = Duration::from_secs(3);

fn file(id: &str, bytes: Vec<u8>) -> AudioChunk {
    last(chunk(id, format(Encoding::File, 0, 0), bytes))
}

#[tokio::test]
async fn hours_of_compressed_silence_are_refused_by_their_duration() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let bomb = flac_bomb::silence(16_560);
    assert!(bomb.len() < 70_000, "{} bytes", bomb.len());
    let outcome = recognize(&connect(&daemon).await, vec![file("bomb", bomb)]).await;
    let (code, message) = outcome.refusal();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("3600 s of audio (audio.max_file_duration)"), "{message}");
    victim.stop().await.assert_p99(LIMIT);
    assert!(daemon.peak_memory() < 400 << 20, "{} bytes", daemon.peak_memory());
}

#[tokio::test]
async fn a_file_whose_client_hangs_up_is_given_up() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    for number in 0..4 {
        let call = Call::open(&connect(&daemon).await).await;
        call.send(file(&format!("gone-{number}"), flac_bomb::silence(3_500))).await;
        metric_reaches(&daemon, "affectd_streams_active", |open| open >= 1.0).await;
        drop(call);
    }
    metric_reaches(&daemon, "affectd_streams_active", |open| open <= 1.0).await;
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn a_long_file_takes_the_memory_of_a_piece() {
    let (_folder, options) = tiny();
    let daemon = options.set("limits.max_memory_bytes", "1048576").set("vad.mode", "off").start().await;
    let victim = Victim::start(&daemon).await;
    let before = daemon.peak_memory();
    // Decoded it takes 38 MB.
    let outcome = recognize(&connect(&daemon).await, vec![file("minutes", flac_bomb::silence(600))]).await;
    let events = outcome.good().len();
    assert!((1_200..1_210).contains(&events), "{events}");
    let taken = daemon.peak_memory() - before;
    assert!(taken < 24 << 20, "{taken} bytes more than before");
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn files_beyond_the_budget_are_refused_with_a_delay_and_a_stream_of_samples_goes_on() {
    let (_folder, options) = tiny();
    let options = options.set("limits.max_memory_bytes", "16777216");
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let channel = connect(&daemon).await;
    // Uploads that never end share the budget.
    let mut calls = Vec::new();
    for number in 0..8 {
        let first = chunk(&format!("upload-{number}"), format(Encoding::File, 0, 0), noise(1 << 20, number));
        let call = Call::begin(&channel, first).await;
        for part in 0..3 {
            call.send(more(noise(1 << 20, part))).await;
        }
        calls.push(call);
    }
    let ended = futures::future::select_all(calls.iter_mut().map(|call| Box::pin(call.rest()))).await.0;
    assert_exhausted(&ended);
    drop(calls);
    // One message that is larger than the budget is refused while it arrives.
    let outcome = recognize(&channel, vec![file("message", noise(40 << 20, 1))]).await;
    assert_eq!(outcome.refusal().0, Code::ResourceExhausted, "{:?}", outcome.status);
    victim.stop().await.assert_p99(LIMIT);
    assert!(daemon.peak_memory() < 400 << 20, "{} bytes", daemon.peak_memory());
}

fn assert_exhausted(outcome: &crate::support::call_fixture::Outcome) {
    let (code, message) = outcome.refusal();
    assert_eq!(code, Code::ResourceExhausted, "{message}");
    assert!(message.contains("limits.max_memory_bytes"), "{message}");
    let details = outcome.status.as_ref().unwrap().details();
    assert!(String::from_utf8_lossy(details).contains("google.rpc.RetryInfo"), "{details:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_small_fields_is_refused_before_it_is_decoded() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let attributes = (0..1_000_000).map(|number| (format!("{number}"), String::new())).collect();
    let first = AudioChunk { attributes, ..chunk("many", telephone(), noise(800, 1)) };
    let started = Instant::now();
    let outcome = recognize(&connect(&daemon).await, vec![first]).await;
    let (code, message) = outcome.refusal();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("beside its audio; at most 65536"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(20));
    victim.stop().await.assert_p99(LIMIT);
    assert!(daemon.peak_memory() < 400 << 20, "{} bytes", daemon.peak_memory());
}
