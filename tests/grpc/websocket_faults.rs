//! Raw audio over WebSocket where each message in turn is missing, comes twice, out of order, cut or too large.

use affectd::proto::CallSummary;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::call_fixture::{bounded, metric, noise, tiny};
use crate::support::daemon::Daemon;
use crate::support::websocket_client::{open, summary};

/// The place of each message in a call.
const START: usize = 0;
const FIRST_AUDIO: usize = 1;
const SECOND_AUDIO: usize = 3;
const CLOSE: usize = 5;
/// Milliseconds in each message with audio: 8 bytes each.
const AUDIO_MS: i64 = 750;
/// One byte more than the largest message has.
const TOO_LARGE: usize = 64 * 1024 + 1;

fn messages() -> Vec<Message> {
    let audio = |seed| Message::binary(noise(AUDIO_MS as usize * 8, seed));
    vec![
        Message::text(r#"{"queue":"sales"}"#),
        audio(1),
        Message::text(r#"{"type":"KeepAlive"}"#),
        audio(2),
        Message::text(r#"{"type":"Finalize"}"#),
        Message::text(r#"{"type":"CloseStream"}"#),
    ]
}

fn cut(message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::text(&text[..text.len() / 2]),
        Message::Binary(audio) => Message::binary(audio[..audio.len() / 2].to_vec()),
        other => other.clone(),
    }
}

fn too_large(message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::text(format!("{}{text}", " ".repeat(TOO_LARGE - text.len()))),
        _ => Message::binary(noise(TOO_LARGE, 3)),
    }
}

/// What becomes of a call: its length in milliseconds, its end, and whether it has the attribute of the first message.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Outcome {
    milliseconds: i64,
    is_closed: bool,
    has_attribute: bool,
}

async fn outcome(daemon: &Daemon, call_id: &str, messages: &[Message]) -> Outcome {
    let path = format!("/v1/listen?encoding=mulaw&sample_rate=8000&call_id={call_id}");
    let mut socket = open(daemon, &path).await.unwrap();
    for message in messages {
        // Fails where the server has closed the connection.
        let _ = socket.send(message.clone()).await;
    }
    let _ = socket.close(None).await;
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    bounded("the end of the connection", rest).await;
    let CallSummary { duration, end_reason, attributes, .. } = summary(daemon, call_id).await;
    let duration = duration.unwrap();
    assert!(["completed", "disconnected"].contains(&end_reason.as_str()), "{call_id}: {end_reason}");
    Outcome {
        milliseconds: duration.seconds * 1_000 + i64::from(duration.nanos) / 1_000_000,
        is_closed: end_reason == "completed",
        has_attribute: attributes.get("queue").is_some_and(|queue| queue == "sales"),
    }
}

/// Sends a call with a change and compares what becomes of it.
async fn check(daemon: &Daemon, name: &str, expected: Outcome, change: impl FnOnce(&mut Vec<Message>)) {
    let mut messages = messages();
    change(&mut messages);
    assert_eq!(outcome(daemon, name, &messages).await, expected, "{name}");
}

#[tokio::test]
async fn each_message_may_be_missing_repeated_out_of_order_cut_or_too_large() {
    let (_folder, options) = tiny();
    let options = options.set("ingest.insecure_loopback", "true").set("calls.linger", "0s");
    let daemon = &options.set("limits.max_utilization_percent", "1000000").start().await;
    let whole = Outcome { milliseconds: 2 * AUDIO_MS, is_closed: true, has_attribute: true };
    check(daemon, "whole", whole, |_| {}).await;
    for at in START..=CLOSE {
        let audio = if at == FIRST_AUDIO || at == SECOND_AUDIO { AUDIO_MS } else { 0 };
        let long = |milliseconds| Outcome { milliseconds, ..whole };
        let without = |audio| Outcome {
            is_closed: at != CLOSE,
            has_attribute: at != START,
            ..long(2 * AUDIO_MS - audio)
        };
        check(daemon, &format!("missing-{at}"), without(audio), |sent| drop(sent.remove(at))).await;
        let repeat = |sent: &mut Vec<Message>| sent.insert(at, sent[at].clone());
        check(daemon, &format!("twice-{at}"), long(2 * AUDIO_MS + audio), repeat).await;
        check(daemon, &format!("cut-{at}"), without(audio / 2), |sent| sent[at] = cut(&sent[at])).await;
        if at != CLOSE {
            // The attributes of a stream are those of a message before its audio.
            let swapped = Outcome { has_attribute: at != START, ..whole };
            check(daemon, &format!("swapped-{at}"), swapped, |sent| sent.swap(at, at + 1)).await;
        }
        if at > FIRST_AUDIO {
            let before = if at > SECOND_AUDIO { 2 * AUDIO_MS } else { AUDIO_MS };
            let ended = Outcome { is_closed: false, ..long(before) };
            check(daemon, &format!("large-{at}"), ended, |sent| sent[at] = too_large(&sent[at])).await;
        }
    }
}

const HANDSHAKE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens a connection to a path without a client that keeps the protocol.
async fn raw(daemon: &Daemon, path: &str) -> TcpStream {
    let mut socket = bounded("a connection", TcpStream::connect(daemon.http)).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\n{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(bounded("the head", socket.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}

/// Returns the code and the reason with which the server closes a connection.
async fn closing(socket: &mut TcpStream) -> (u16, String) {
    let close = async {
        loop {
            let (kind, length) = (socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap());
            let mut payload = vec![0; usize::from(length)];
            socket.read_exact(&mut payload).await.unwrap();
            if kind == 0x88 {
                return payload;
            }
        }
    };
    let payload = bounded("a close frame", close).await;
    let (code, reason) = payload.split_first_chunk().unwrap();
    (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
}

#[tokio::test]
async fn frames_that_break_the_protocol_close_with_a_code_and_a_reason_and_are_counted() {
    let (_folder, options) = tiny();
    let daemon = options.set("ingest.insecure_loopback", "true").start().await;
    let long_ping = [&[0x89, 0xfe, 0, 126][..], &[0; 130]].concat();
    let frames: [(&[u8], u16, &str); 6] = [
        (&[0x82, 1, 0], 1002, "unmasked"),
        (&[0xc2, 0x81, 0, 0, 0, 0, 0], 1002, "reserved bits"),
        (&[0x83, 0x81, 0, 0, 0, 0, 0], 1002, "opcode: 3"),
        (&[0x80, 0x81, 0, 0, 0, 0, 0], 1002, "continue frame"),
        (&long_ping, 1002, "control frame too big"),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007, "UTF-8"),
    ];
    for (path, source) in [
        ("/v1/listen?encoding=mulaw&sample_rate=8000", "websocket"),
        ("/ingest/twilio", "twilio"),
        ("/ingest/audiohook", "audiohook"),
    ] {
        for (frame, code, reason) in frames {
            let mut socket = raw(&daemon, path).await;
            socket.write_all(frame).await.unwrap();
            let found = closing(&mut socket).await;
            assert!(found.0 == code && found.1.contains(reason), "{path} {reason}: {found:?}");
        }
        let series = format!("affectd_rejected_total{{source=\"{source}\",reason=\"websocket_frame\"");
        assert_eq!(metric(&daemon, &series).await, frames.len() as f64, "{source}");
    }
    let mut open = raw(&daemon, "/v1/listen?encoding=mulaw&sample_rate=8000&call_id=open").await;
    open.write_all(&[&[0x82, 0xfe, 0x10, 0, 0, 0, 0, 0][..], &noise(4_096, 1)].concat()).await.unwrap();
    open.write_all(frames[0].0).await.unwrap();
    assert_eq!(closing(&mut open).await.0, 1002, "behind audio");
    assert_eq!(summary(&daemon, "open").await.end_reason, "disconnected");
}

#[tokio::test]
async fn a_drained_connection_is_closed_with_a_reason_that_names_no_position() {
    let (_folder, options) = tiny();
    let mut daemon = options.set("ingest.insecure_loopback", "true").start().await;
    let mut open = raw(&daemon, "/v1/listen?encoding=mulaw&sample_rate=8000").await;
    open.write_all(&[&[0x82, 0xfe, 0x40, 0, 0, 0, 0, 0][..], &noise(16_384, 1)].concat()).await.unwrap();
    let mut silent = raw(&daemon, "/ingest/twilio").await;
    daemon.terminate();
    for socket in [&mut open, &mut silent] {
        assert_eq!(closing(socket).await, (1012, "affectd is shutting down: connect again".to_owned()));
    }
    drop((open, silent));
    assert!(daemon.ended().await.success());
}
