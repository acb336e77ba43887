//! Any chunking by the client gives the same events: real gRPC and the built-in model.

use affectd::audio;
use affectd::proto::{AudioChunk, EmotionEvent, Encoding};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tonic::transport::Channel;

use crate::support::call_fixture::{chunk, connect, format, last, more, recognize, same};
use crate::support::daemon::Options;

const SAMPLE: &[u8] = include_bytes!("../../deploy/samples/angry.wav");

/// The events of `audio`, 16 kHz PCM_S16LE, in chunks of the given numbers of samples, over and over.
async fn events(channel: &Channel, audio: &[u8], sizes: &[usize]) -> Vec<EmotionEvent> {
    let first = chunk("call", format(Encoding::PcmS16le, 16_000, 1), []);
    let mut chunks: Vec<AudioChunk> = vec![first];
    let (mut rest, mut sizes) = (audio, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |samples| samples * 2).min(rest.len());
        let (head, tail) = rest.split_at(size);
        chunks.push(more(head));
        rest = tail;
    }
    let end = chunks.pop().expect("the first one at least");
    chunks.push(last(end));
    recognize(channel, chunks).await.good()
}

#[test]
fn any_chunking_gives_the_same_events() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let daemon = runtime.block_on(Options::new().set("engine.device", "cpu").start());
    let channel = runtime.block_on(connect(&daemon));
    let recording = audio::decode_bytes(SAMPLE, None).expect("a sample");
    assert_eq!(recording.sample_rate_hz, 16_000);
    let audio = audio::encode(&recording.channels[..1], Encoding::PcmS16le);
    let cut = |seconds: f64| &audio[..((seconds * 16_000.0) as usize * 2).min(audio.len())];

    let fixed = cut(5.3);
    let at_once = runtime.block_on(events(&channel, fixed, &[]));
    assert_eq!(at_once.len(), 4, "three whole windows and a partial one");
    for samples in [112, 320, 16_000] {
        let found = runtime.block_on(events(&channel, fixed, &[samples]));
        same(&found, &at_once).unwrap_or_else(|why| panic!("chunks of {samples} samples: {why}"));
    }

    let random = (1.0..6.0_f64, prop::collection::vec(1..30_000_usize, 1..10));
    let cases = Config { cases: 6, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(cases).run(&random, |(seconds, sizes)| {
        let audio = cut(seconds);
        let at_once = runtime.block_on(events(&channel, audio, &[]));
        let found = runtime.block_on(events(&channel, audio, &sizes));
        prop_assert!(!at_once.is_empty());
        same(&found, &at_once).map_err(TestCaseError::fail)
    });
    outcome.expect("any chunking gives the same events");
}
