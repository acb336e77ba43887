//! Streams over gRPC from the first chunk to the last event: a real daemon and a real connection.

use std::time::{SystemTime, UNIX_EPOCH};

use affectd::audio;
use affectd::model::{Layout, Output};
use affectd::proto::Timestamp;
use affectd::proto::{AudioChunk, EmotionEvent, Encoding};
use affectd::publish::EventFactory;
use affectd::publish::event::WindowName;
use tonic::Code;

use crate::support::call_fixture;
use crate::support::call_fixture::{
    Call, Outcome, chunk, connect, format, last, more, noise, recognize, same, shapes, telephone, tiny,
};
use crate::support::model_fixture;

const SAMPLE: &[u8] = include_bytes!("../../deploy/samples/call-stereo-mulaw.wav");

fn expected_id(event: &EmotionEvent) -> String {
    let contract = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    let factory = EventFactory::new(&contract, &affectd::config::Config::default().publish);
    let (stream_id, channel, index) = (event.stream_id.as_str(), event.channel, event.window_index);
    factory.event_id(WindowName { owner: "", stream_id, channel, index, partial: event.partial }).to_string()
}

#[tokio::test]
async fn every_channel_gets_its_events_in_window_order() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    for (encoding, rate, channels, sample_bytes) in [
        (Encoding::PcmS16le, 16_000, 1, 2),
        (Encoding::Mulaw, 8_000, 2, 1),
        (Encoding::PcmS24le, 44_100, 3, 3),
    ] {
        let audio = noise(rate as usize * 17 / 10 * channels as usize * sample_bytes, 1);
        let chunks = vec![last(chunk("call", format(encoding, rate, channels), audio))];
        let events = recognize(&channel, chunks).await.good();
        for number in 0..channels {
            let own: Vec<_> = events.iter().filter(|event| event.channel == number).cloned().collect();
            let windows = [(0, false, 0, 1_000), (1, false, 500, 1_500), (2, true, 1_000, 1_700)];
            assert_eq!(shapes(&own), windows.map(|(index, p, start, end)| (number, index, p, start, end)));
        }
        assert_eq!(events.len(), 3 * channels as usize);
        for event in &events {
            let sum: f32 = event.scores.iter().map(|score| score.probability).sum();
            let labels: Vec<&str> = event.scores.iter().map(|score| score.emotion.as_str()).collect();
            assert_eq!(labels, ["anger", "neutral", "sadness"]);
            assert!(
                (sum - 1.0).abs() < 1e-5 && event.scores.iter().all(|s| s.probability <= event.confidence)
            );
            let best = event.scores.iter().find(|score| score.emotion == event.emotion);
            assert_eq!(best.map(|best| best.probability), Some(event.confidence));
            assert_eq!((event.stream_id.as_str(), event.model.as_str()), ("call", "tiny@1.0.0"));
            assert_eq!(event.event_id, expected_id(event));
        }
    }
}

#[tokio::test]
async fn a_file_gives_the_events_of_its_samples() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let file = format(Encoding::File, 0, 0);
    let (head, tail) = SAMPLE.split_at(70_001);
    let captured = Timestamp { seconds: 7, nanos: 0 };
    let tail = AudioChunk { captured_at: Some(captured), ..last(more(tail)) };
    let events = recognize(&channel, vec![chunk("call", file, head), tail]).await.good();

    let recording = audio::decode_bytes(SAMPLE, None).expect("a sample");
    let channels = recording.channels.len() as u32;
    assert_eq!((channels, recording.sample_rate_hz), (2, 8_000));
    let samples = audio::encode(&recording.channels, Encoding::PcmF32le);
    let raw = chunk("call", format(Encoding::PcmF32le, recording.sample_rate_hz, channels), []);
    let mut chunks = vec![raw];
    chunks.extend(samples.chunks(64_000).map(more));
    let of_samples = recognize(&channel, chunks).await.good();
    same(&events, &of_samples).expect("the same audio");
    assert!(events.len() > 20 && events.iter().all(|event| event.captured_at == Some(captured)));
    // Without `last`, closing the sending side ends the file.
    let closed = recognize(&channel, vec![chunk("call", file, SAMPLE)]).await.good();
    same(&closed, &of_samples).expect("the same file");
}

#[tokio::test]
async fn events_carry_the_attributes_and_the_capture_time() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let attributes = [("agent".to_owned(), "7".to_owned()), ("queue".to_owned(), "grün".to_owned())];
    let at = |seconds| Some(Timestamp { seconds, nanos: 500 });
    let first = AudioChunk {
        attributes: attributes.clone().into(),
        captured_at: at(100),
        ..chunk("call", telephone(), noise(9_000, 2))
    };
    let second = AudioChunk {
        attributes: [("agent".to_owned(), "8".to_owned())].into(),
        captured_at: at(200),
        ..last(more(noise(6_000, 3)))
    };
    let events = recognize(&connect(&daemon).await, vec![first, second]).await.good();
    assert_eq!(shapes(&events).iter().map(|shape| shape.1).collect::<Vec<_>>(), [0, 1, 2]);
    let captured: Vec<_> = events.iter().map(|event| event.captured_at).collect();
    assert_eq!(captured, [at(100), at(200), at(200)], "of the chunk that completed the window");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    for event in events {
        assert_eq!(event.attributes, attributes.clone().into());
        let published = event.published_at.expect("a time").seconds;
        assert!((now - 120..=now).contains(&published), "{published} is not just before {now}");
    }
}

#[tokio::test]
async fn a_stream_without_an_id_gets_a_uuid() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let chunks = vec![chunk("", telephone(), noise(8_000, 4)), last(more(noise(4_000, 5)))];
        let events = recognize(&channel, chunks).await.good();
        let name = uuid::Uuid::parse_str(&events[0].stream_id).expect("a UUID");
        assert!(events.len() == 2 && events.iter().all(|event| event.stream_id == name.to_string()));
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_client_that_reconnects_resumes_at_the_next_whole_window() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let audio = noise(48_000, 6);
    let whole = recognize(&connect(&daemon).await, vec![last(chunk("call", telephone(), audio.clone()))])
        .await
        .good();

    let first_connection = connect(&daemon).await;
    let mut call = Call::begin(&first_connection, chunk("call", telephone(), &audio[..20_000])).await;
    same(&call.events(4).await, &whole[..4]).expect("the first windows");
    drop((call, first_connection));
    // The daemon may take a moment to detect that the client has disconnected.
    let channel = connect(&daemon).await;
    let resumed = call_fixture::bounded("the stream to be free", async {
        loop {
            let at =
                AudioChunk { first_sample: Some(18_500), ..chunk("call", telephone(), &audio[18_500..]) };
            match recognize(&channel, vec![last(at)]).await {
                Outcome { status: Some(status), .. } if status.code() == Code::AlreadyExists => {
                    tokio::task::yield_now().await;
                }
                outcome => return outcome.good(),
            }
        }
    });
    same(&resumed.await, &whole[5..]).expect("from 2.5 s on, with the same ids");
}

#[tokio::test]
async fn positions_and_sequences_apply_to_chunks_of_any_length() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let audio = noise(40_000, 7);
    let whole = recognize(&channel, vec![last(chunk("call", telephone(), audio.clone()))]).await.good();
    let at = |from: usize, to: usize| AudioChunk {
        first_sample: Some(from as u64),
        ..chunk("call", telephone(), &audio[from..to])
    };
    let overlapping = vec![at(0, 20_000), at(0, 30_000), at(5_000, 12_000), last(at(14_000, 40_000))];
    same(&recognize(&channel, overlapping).await.good(), &whole).expect("overlap is cut off");
    let numbered = |sequence, chunk: AudioChunk| AudioChunk { sequence: Some(sequence), ..chunk };
    let repeated = vec![
        numbered(3, chunk("call", telephone(), &audio[..20_000])),
        numbered(3, more(&audio[..20_000])),
        numbered(2, more(&audio[..10_000])),
        last(numbered(9, more(&audio[20_000..]))),
    ];
    same(&recognize(&channel, repeated).await.good(), &whole).expect("what came before is dropped");
    assert_eq!(
        call_fixture::metric(&daemon, "affectd_rejected_total{source=\"grpc\",reason=\"duplicate\"").await,
        2.0
    );
}

#[tokio::test]
async fn an_idle_stream_ends_and_goes_on_in_a_new_call() {
    let (_folder, options) = tiny();
    let daemon = options.set("audio.idle_timeout", "200ms").start().await;
    let audio = noise(24_000, 8);
    let channel = connect(&daemon).await;
    let mut call = Call::begin(&channel, chunk("call", telephone(), &audio[..9_600])).await;
    let events = call.events(2).await;
    assert_eq!(shapes(&events), [(0, 0, false, 0, 1_000), (0, 1, true, 500, 1_200)]);
    let outcome = call.rest().await;
    let (code, message) = outcome.refusal();
    assert_eq!((code, outcome.events.len()), (Code::DeadlineExceeded, 0));
    assert!(message.contains("no chunk for 0.2 s (audio.idle_timeout)"), "{message}");
    let rest = AudioChunk { first_sample: Some(9_600), ..chunk("call", telephone(), &audio[9_600..]) };
    let events = recognize(&channel, vec![last(rest)]).await.good();
    let expected = [(0, 3, false, 1_500, 2_500), (0, 4, false, 2_000, 3_000)];
    assert_eq!(shapes(&events), expected);
}
