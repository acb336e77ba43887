//! Fields that are too large, out of range, or meant to forge log lines; messages that are not protobuf.

use std::time::Duration;

use affectd::proto::Timestamp;
use affectd::proto::{AudioChunk, Encoding};
use tonic::{Code, Request};

use crate::support::call_fixture::{
    Call, chunk, connect, format, last, logs, more, noise, recognize, telephone, tiny,
};
use crate::support::raw_codec::{RawBytes, RawCodec};
use crate::support::victim::Victim;

/// More than any event takes here, even on a busy machine; the attacks delayed events by 10 s and more, or for good.
const LIMIT: Duration = Duration::from_secs(3);
/// The most bytes of a refusal: its own words and at most 200 bytes of input.
const LONGEST_REFUSAL: usize = 600;

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn cases() -> Vec<(Vec<AudioChunk>, &'static str)> {
    let first = || chunk("bad", telephone(), noise(800, 1));
    let file = || chunk("bad", format(Encoding::File, 0, 0), noise(800, 1));
    let attributes = (0..60).map(|number| (format!("name {number:04}"), "x".repeat(1000))).collect();
    let long = |bytes: usize| "é".repeat(bytes / 2);
    let wide = |names| AudioChunk { channel_names: names, ..file() };
    let later = |captured_at| vec![first(), AudioChunk { captured_at, ..more(noise(800, 2)) }];
    vec![
        (vec![AudioChunk { attributes, ..first() }], "attributes: 60540 bytes"),
        (vec![AudioChunk { stream_id: long(60_000), ..first() }], "stream_id: 60000 bytes"),
        (vec![AudioChunk { stream_id: long(600_000), ..first() }], "message: 600"),
        (vec![AudioChunk { model: long(1_000), ..first() }], "model: 1000 bytes"),
        (vec![wide(vec![long(1_000)])], "channel_names: 1000 bytes"),
        (vec![wide(vec!["a".to_owned(); 10_000])], "channel_names: 10000 names"),
        (vec![AudioChunk { captured_at: at(i64::MAX, 0), ..first() }], "captured_at: 9223372036854775807 s"),
        (later(at(i64::MIN, 0)), "captured_at: -9223372036854775808 s"),
        (later(at(0, -1)), "captured_at: 0 s and -1 ns"),
        (vec![first(), AudioChunk { stream_id: long(60_000), ..more([]) }], "stream_id: \"éé"),
        (vec![first(), AudioChunk { model: long(60_000), ..more([]) }], "model: \"éé"),
    ]
}

#[tokio::test]
async fn fields_out_of_bounds_are_refused_by_name_and_size() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let victim = Victim::start(&daemon).await;
    for (chunks, expected) in cases() {
        let outcome = recognize(&channel, chunks).await;
        let (code, message) = outcome.refusal();
        assert_eq!(code, Code::InvalidArgument, "{expected}: {message}");
        assert!(message.starts_with(expected), "{message} is not {expected}");
        assert!(message.len() < LONGEST_REFUSAL, "{} bytes: {message}", message.len());
    }
    victim.stop().await.assert_p99(LIMIT);
    assert!(daemon.log().lines().all(|line| line.len() < 2 * LONGEST_REFUSAL), "{}", daemon.log());
}

#[tokio::test]
async fn text_of_a_client_cannot_forge_a_log_line() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let id = "a\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[2J\u{202e}";
    let wav = [b"RIFF\x24\0\0\0WAVEfmt ".as_slice(), &noise(800, 1)].concat();
    recognize(&connect(&daemon).await, vec![last(chunk(id, telephone(), wav))]).await.good();
    logs(&daemon, "header of a WAV file").await;
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("header of a WAV file")).unwrap();
    assert!(line.contains(r"a\n2026-01-01T00:00:00Z ERROR forged\r\u001b[2J\u202e"), "{line}");
    assert!(!log.contains('\u{1b}') && !log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")));
}

#[tokio::test]
async fn a_message_that_is_not_protobuf_is_an_invalid_argument_and_the_daemon_serves_on() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let channel = connect(&daemon).await;
    for path in ["/affectd.v1.RecognitionService/Recognize", "/affectd.v1.EvaluationService/Evaluate"] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let garbage = futures::stream::iter([RawBytes(vec![0xff; 60_000])]);
        let path = path.parse().unwrap();
        let answer = client.streaming(Request::new(garbage), path, RawCodec).await;
        let status = match answer {
            Err(status) => status,
            Ok(answer) => answer.into_inner().message().await.unwrap_err(),
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().len() < LONGEST_REFUSAL, "{status}");
    }
    let mut call = Call::begin(&channel, chunk("after", telephone(), noise(8_000, 3))).await;
    call.event().await;
    victim.stop().await.assert_p99(LIMIT);
}
