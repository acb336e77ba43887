//! Bad input is refused with the name of the field and does not affect other streams: a real daemon over real gRPC.

use affectd::proto::{AudioChunk, Encoding};
use tonic::Code;

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, format, last, metric, more, noise, recognize, same, telephone, tiny,
};

/// The largest chunk, in bytes, that the daemons here accept.
const LARGEST_CHUNK: usize = 50_000;
const LARGEST_FILE: usize = 60_000;

fn floats(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// The chunks, the number of events before the refusal, and the names in the refusal.
struct Case {
    what: &'static str,
    chunks: Vec<AudioChunk>,
    events: usize,
    names: &'static [&'static str],
}

fn case(what: &'static str, chunks: Vec<AudioChunk>, events: usize, names: &'static [&'static str]) -> Case {
    Case { what, chunks, events, names }
}

fn bad_formats() -> Vec<Case> {
    let audio = || noise(800, 1);
    let unknown = affectd::proto::AudioFormat { encoding: 99, ..telephone() };
    let with = |encoding, rate, channels| vec![chunk("bad", format(encoding, rate, channels), audio())];
    vec![
        case("no format", vec![AudioChunk { stream_id: "bad".into(), ..more(audio()) }], 0, &["format"]),
        case("unspecified", with(Encoding::Unspecified, 8_000, 1), 0, &["format.encoding"]),
        case("unknown", vec![chunk("bad", unknown, audio())], 0, &["format.encoding", "99"]),
        case("slow", with(Encoding::Mulaw, 7_999, 1), 0, &["format.sample_rate_hz", "7999", "8000"]),
        case("fast", with(Encoding::Mulaw, 192_001, 1), 0, &["format.sample_rate_hz", "192000"]),
        case("no channel", with(Encoding::Mulaw, 8_000, 0), 0, &["format.channels", "0"]),
        case("nine channels", with(Encoding::Mulaw, 8_000, 9), 0, &["format.channels", "9", "8"]),
    ]
}

fn bad_streams() -> Vec<Case> {
    let good = || chunk("bad", telephone(), noise(8_000, 2));
    let pcm = format(Encoding::PcmS16le, 8_000, 1);
    let other = AudioChunk { stream_id: "other".into(), ..more(noise(80, 3)) };
    let changed = chunk("bad", format(Encoding::Mulaw, 8_000, 2), noise(80, 3));
    let far = AudioChunk { first_sample: Some(u64::MAX), ..more(noise(80, 3)) };
    let file = format(Encoding::File, 0, 0);
    let mut late_nan = vec![0.25; 9_000];
    late_nan[8_500] = f32::NAN;
    let float = format(Encoding::PcmF32le, 8_000, 1);
    vec![
        case(
            "odd bytes",
            vec![chunk("bad", pcm, noise(801, 4))],
            0,
            &["odd byte count", "1 bytes", "2 bytes"],
        ),
        case("changed", vec![good(), changed], 1, &["format", "2 channels"]),
        case("another stream", vec![good(), other], 1, &["stream_id", "other"]),
        case("far", vec![good(), far], 1, &["first_sample", "18446744073709551615"]),
        case("nan", vec![chunk("bad", float, floats(&[0.0, f32::NAN]))], 0, &["audio", "NaN"]),
        case("infinite", vec![chunk("bad", float, floats(&[f32::INFINITY]))], 0, &["audio", "inf"]),
        case("nan behind a second", vec![chunk("bad", float, floats(&late_nan))], 0, &["sample 8500", "NaN"]),
        case(
            "large",
            vec![good(), more(vec![0; LARGEST_CHUNK + 1])],
            1,
            &["audio", "50000", "max_chunk_bytes"],
        ),
        case("enormous", vec![good(), more(vec![0; 400_000])], 1, &["audio", "50000", "max_chunk_bytes"]),
        case("50 MB", vec![good(), more(vec![0; 50_000_000])], 1, &["audio", "50000", "max_chunk_bytes"]),
        case("text as file", vec![last(chunk("bad", file, *b"no audio at all"))], 0, &["audio", "no audio"]),
        case("empty file", vec![last(chunk("bad", file, []))], 0, &["audio", "empty"]),
        case(
            "large file",
            vec![chunk("bad", file, noise(40_000, 5)), more(noise(40_000, 6))],
            0,
            &["audio", "60000", "max_file_bytes"],
        ),
    ]
}

#[tokio::test]
async fn every_bad_input_is_refused_and_another_stream_gets_all_its_events() {
    let (_folder, options) = tiny();
    let options = options
        .set("audio.max_chunk_bytes", &LARGEST_CHUNK.to_string())
        .set("audio.max_file_bytes", &LARGEST_FILE.to_string())
        .set("limits.shards", "1");
    let daemon = options.start().await;
    let (channel, neighbours) = (connect(&daemon).await, connect(&daemon).await);
    let cases: Vec<Case> = bad_formats().into_iter().chain(bad_streams()).collect();
    let audio = noise(2_000 * cases.len(), 7);
    let undisturbed =
        recognize(&channel, vec![last(chunk("neighbour", telephone(), audio.clone()))]).await.good();

    let mut neighbour = Call::begin(&neighbours, chunk("neighbour", telephone(), [])).await;
    let mut parts = audio.chunks(2_000);
    for Case { what, chunks, events, names } in cases {
        let outcome = recognize(&channel, chunks).await;
        let (code, message) = outcome.refusal();
        assert_eq!(code, Code::InvalidArgument, "{what}: {message}");
        assert!(names.iter().all(|name| message.contains(name)), "{what}: {message} names not {names:?}");
        assert_eq!(outcome.events.len(), events, "{what}: windows that were complete have their events");
        neighbour.send(more(parts.next().expect("a part for each case"))).await;
    }
    neighbour.close();
    let events = neighbour.rest().await.good();
    same(&events, &undisturbed).expect("the neighbour is undisturbed");
    assert!(metric(&daemon, "affectd_rejected_total{source=\"grpc\"").await >= 19.0);
}

#[tokio::test]
async fn a_chunk_of_50_mb_is_accepted_if_the_limit_allows_it() {
    let (_folder, options) = tiny();
    let daemon = options.set("audio.max_chunk_bytes", "67108864").start().await;
    // 8.1 s of eight channels at 192 kHz and 32 bits.
    let large = chunk("large", format(Encoding::PcmS32le, 192_000, 8), noise(1_562_500 * 32, 20));
    let first = AudioChunk { channels: affectd::proto::ChannelPolicy::First.into(), ..large };
    let events = recognize(&connect(&daemon).await, vec![last(first)]).await.good();
    let indexes: Vec<(u64, bool)> = events.iter().map(|event| (event.window_index, event.partial)).collect();
    let full = (0..15).map(|index| (index, false));
    assert_eq!(indexes, full.chain([(15, true)]).collect::<Vec<_>>());
    assert!(events.iter().flat_map(|event| &event.scores).all(|score| score.probability.is_finite()));
}

#[tokio::test]
async fn a_request_without_a_chunk_is_refused() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let mut call = Call::open(&connect(&daemon).await).await;
    let empty = affectd::proto::RecognizeRequest { chunk: None };
    bounded("room", call.requests().send(empty)).await.expect("the call is open");
    assert_eq!(call.rest().await.refusal(), (Code::InvalidArgument, "chunk: missing in the request"));
}

#[tokio::test]
async fn a_stream_over_the_limit_is_refused_and_the_open_one_continues() {
    let (_folder, options) = tiny();
    let daemon = options.set("limits.max_streams", "1").start().await;
    let channel = connect(&daemon).await;
    let mut open = Call::begin(&channel, chunk("open", telephone(), noise(8_000, 8))).await;
    open.event().await;

    let refused = recognize(&channel, vec![chunk("second", telephone(), noise(8_000, 9))]).await;
    let (code, message) = refused.refusal();
    assert_eq!(code, Code::ResourceExhausted);
    assert!(message.contains("limits.max_streams") && message.contains('1'), "{message}");
    assert!(refused.events.is_empty());

    open.send(last(more(noise(4_000, 10)))).await;
    assert_eq!(open.rest().await.good().len(), 1);
    recognize(&channel, vec![last(chunk("second", telephone(), noise(8_000, 9)))]).await.good();
}

#[tokio::test]
async fn a_stream_id_that_is_open_is_refused_and_can_be_reused_after_its_end() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let (one, other) = (connect(&daemon).await, connect(&daemon).await);
    let mut open = Call::begin(&one, chunk("call", telephone(), noise(8_000, 11))).await;
    open.event().await;
    let second = recognize(&other, vec![chunk("call", telephone(), noise(8_000, 12))]).await;
    let (code, message) = second.refusal();
    assert_eq!(code, Code::AlreadyExists);
    assert!(message.contains("stream_id") && message.contains("call"), "{message}");
    open.send(last(more(noise(4_000, 13)))).await;
    assert_eq!(open.rest().await.good().len(), 1);

    // After the end of a call, with or without an error, the stream id can be opened again at once as a new stream.
    for _ in 0..20 {
        let good = vec![last(chunk("call", telephone(), noise(8_000, 14)))];
        assert_eq!(recognize(&one, good).await.good()[0].window_index, 0);
        let bad = vec![chunk("call", telephone(), noise(LARGEST_CHUNK, 15)), chunk("x", telephone(), [])];
        assert_eq!(recognize(&other, bad).await.refusal().0, Code::InvalidArgument);
    }
}
