//! Twilio Media Streams where something goes wrong: messages, connections, limits, audio, and many calls at once.

use affectd::audio;
use affectd::proto::Encoding;
use futures::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::call_fixture::{logs, metric, metric_reaches, noise};
use crate::support::daemon::Daemon;
use crate::support::twilio_fixture::{SIZES, Stream};
use crate::support::websocket_client::{closed, open, summary};
use crate::twilio::{check_complete, options, send};

const PATH: &str = "/ingest/twilio";

/// Shuffles in blocks of `block`, the same way each time.
fn shuffled(messages: &[String], block: usize) -> Vec<String> {
    let order = noise(messages.len(), 9);
    let mut keyed: Vec<_> =
        messages.iter().zip(order).enumerate().map(|(at, (text, key))| (at / block, key, text)).collect();
    keyed.sort_by_key(|(block, key, _)| (*block, *key));
    keyed.into_iter().map(|(_, _, text)| text.clone()).collect()
}

#[tokio::test]
async fn messages_in_another_order_repeated_and_cut_give_the_same_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let (one, other) = (noise(15_200, 1), noise(15_200, 2));
    let tracks = [("inbound", one.as_slice()), ("outbound", other.as_slice())];
    let messages = |call: &str| Stream::new(call, call).messages(&tracks, &SIZES);
    send(open(&daemon, PATH).await.unwrap(), &messages("plain")).await;
    let wrong = shuffled(&messages("wrong"), 8).into_iter().flat_map(|text| {
        let cut = text[..text.len() / 2].to_owned();
        [text.clone(), cut, text, "{}".to_owned(), String::new()]
    });
    send(open(&daemon, PATH).await.unwrap(), &wrong.collect::<Vec<_>>()).await;
    let (plain, wrong) = (summary(&daemon, "plain").await, summary(&daemon, "wrong").await);
    assert!(plain.channels.len() == 2 && plain.channels[0].windows >= 3, "{plain:?}");
    assert_eq!(
        (&plain.channels, plain.duration, &plain.end_reason),
        (&wrong.channels, wrong.duration, &wrong.end_reason)
    );
    assert_eq!(plain.audio, wrong.audio);
    for reason in ["malformed", "duplicate"] {
        let series = format!("affectd_rejected_total{{source=\"twilio\",reason=\"{reason}\"}}");
        assert!(metric(&daemon, &series).await > 0.0, "{series}");
    }
}

#[tokio::test]
async fn a_connection_without_stop_or_with_a_message_that_is_too_large_ends_its_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let audio = noise(12_000, 1);
    for (call_id, message) in [("dead", None), ("large", Some("x".repeat(65_537)))] {
        let mut messages = Stream::new(call_id, call_id).messages(&[("inbound", &audio)], &[160]);
        messages.pop();
        messages.extend(message);
        let mut socket = open(&daemon, PATH).await.unwrap();
        for message in messages {
            let _ = socket.send(Message::text(message)).await;
        }
        if call_id == "large" {
            assert_eq!(closed(&mut socket).await, Some(CloseCode::Size));
        }
        drop(socket);
        let found = summary(&daemon, call_id).await;
        assert_eq!(
            (found.end_reason.as_str(), found.channels[0].name.as_str()),
            ("disconnected", "customer")
        );
        assert!(found.duration.unwrap().seconds >= 1, "{found:?}");
    }
}

#[tokio::test]
async fn text_in_binary_messages_and_numbers_that_are_none_of_the_stream_change_nothing() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let audio = noise(12_000, 1);
    let stream = |call_id: &str| Stream::new(call_id, call_id).messages(&[("inbound", &audio)], &[160]);
    assert_eq!(send(open(&daemon, PATH).await.unwrap(), &stream("text")).await, Some(CloseCode::Normal));
    let mut messages = stream("binary");
    let key = json!({"event": "dtmf", "sequenceNumber": "4000000000", "dtmf": {"digit": "5"}});
    messages.insert(20, key.to_string());
    let mut socket = open(&daemon, PATH).await.unwrap();
    socket.send(Message::binary(vec![0xff; 20])).await.unwrap();
    for message in messages {
        socket.send(Message::binary(message)).await.unwrap();
    }
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Normal));
    let [text, binary] = [summary(&daemon, "text").await, summary(&daemon, "binary").await];
    assert_eq!((&text.duration, &text.channels), (&binary.duration, &binary.channels));
    assert_eq!(text.audio, binary.audio);
    let series = "affectd_rejected_total{source=\"twilio\",reason=\"malformed\"}";
    assert_eq!(metric(&daemon, series).await, 1.0);
}

#[tokio::test]
async fn a_stream_without_start_and_one_that_falls_silent_are_closed() {
    let (_folder, options) = options();
    let options = options.set("limits.first_chunk_timeout", "2s").set("audio.idle_timeout", "1s");
    let daemon = options.start().await;
    let audio = noise(12_000, 1);
    let messages = Stream::new("s", "silent").messages(&[("inbound", &audio)], &[160]);
    let without_start: Vec<String> =
        messages.iter().filter(|text| !text.contains("accountSid")).cloned().collect();
    assert_eq!(send(open(&daemon, PATH).await.unwrap(), &without_start).await, Some(CloseCode::Policy));
    let without_stop = &messages[..messages.len() - 1];
    assert_eq!(send(open(&daemon, PATH).await.unwrap(), without_stop).await, Some(CloseCode::Normal));
    assert!(summary(&daemon, "silent").await.channels[0].windows >= 1);
}

#[tokio::test]
async fn a_second_stream_of_the_call_joins_it_and_limits_are_503() {
    let (_folder, options) = options();
    let daemon = options.set("calls.linger", "2s").set("limits.max_streams", "1").start().await;
    let audio = noise(8_000, 1);
    for stream_id in ["first", "second"] {
        let messages = Stream::new(stream_id, "joined").messages(&[("inbound", &audio)], &[160]);
        send(open(&daemon, PATH).await.unwrap(), &messages).await;
    }
    let found = summary(&daemon, "joined").await;
    assert_eq!(
        (found.stream_ids.as_slice(), found.channels.len()),
        (&["first".to_owned(), "second".to_owned()][..], 1)
    );
    assert_eq!(found.channels[0].windows, 2);

    let messages = Stream::new("open", "open").messages(&[("inbound", &audio)], &[160]);
    let mut socket = open(&daemon, PATH).await.unwrap();
    for message in &messages[..messages.len() - 1] {
        socket.send(Message::text(message.as_str())).await.unwrap();
    }
    metric_reaches(&daemon, "affectd_streams_active", |streams| streams == 1.0).await;
    match open(&daemon, PATH).await {
        Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 503),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn audio_that_is_faster_than_the_engine_is_lost_and_counted() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    // Five minutes in messages of five seconds, each of which is longer than what may wait.
    let audio = noise(8_000 * 300, 3);
    let messages = Stream::new("fast", "fast").messages(&[("inbound", &audio)], &[40_000]);
    assert_eq!(send(open(&daemon, PATH).await.unwrap(), &messages).await, Some(CloseCode::Normal));
    let found = summary(&daemon, "fast").await;
    let lost = found.audio.unwrap().lost.unwrap().seconds;
    assert!((180..300).contains(&lost) && found.duration.unwrap().seconds == 300, "{lost}");
    let counted = metric(&daemon, "affectd_ingest_dropped_seconds_total{source=\"twilio\"}").await;
    assert!((counted - lost as f64).abs() <= 1.0, "{counted} is not {lost}");
}

#[tokio::test]
async fn identical_tracks_are_flagged_and_implausible_audio_is_logged() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let voice = audio::decode_bytes(&include_bytes!("../../deploy/samples/angry.wav")[..], None).unwrap();
    let samples = voice.channels[0].chunks_exact(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
    let voice = audio::encode(&[samples], Encoding::Mulaw).to_vec();
    let tracks = [("inbound", &voice[..15_200]), ("outbound", &voice[..15_200])];
    send(open(&daemon, PATH).await.unwrap(), &Stream::new("a", "same").messages(&tracks, &[160])).await;
    let found = summary(&daemon, "same").await;
    assert!(found.audio.unwrap().identical_channels && found.interruptions.is_empty());
    assert!(!daemon.log().contains("implausible audio"));
    let linear = Stream { bytes_per_ms: 16, ..Stream::new("b", "linear") };
    let linear = linear.messages(&[("inbound", &voice[..30_000])], &[320]);
    let linear: Vec<String> =
        linear.iter().map(|text| text.replace("audio/x-mulaw", "audio/x-l16")).collect();
    send(open(&daemon, PATH).await.unwrap(), &linear).await;
    summary(&daemon, "linear").await;
    logs(&daemon, "implausible audio").await;
    assert!(daemon.log().contains("call_id=linear"), "{}", daemon.log());
}

async fn call(daemon: &Daemon, number: u64) {
    let audio = noise(8_000, number);
    let messages =
        Stream::new(&format!("s{number}"), &format!("c{number}")).messages(&[("inbound", &audio)], &[160]);
    let mut socket = open(daemon, PATH).await.unwrap();
    for message in messages {
        socket.send(Message::text(message)).await.unwrap();
    }
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Normal));
    let found = summary(daemon, &format!("c{number}")).await;
    assert_eq!((found.end_reason.as_str(), found.channels[0].windows), ("completed", 1), "{number}");
    check_complete(&found);
}

#[tokio::test]
async fn a_hundred_calls_at_once_have_a_summary_each() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    futures::future::join_all((0..100).map(|number| call(&daemon, number))).await;
}
