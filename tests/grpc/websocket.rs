//! Raw audio over WebSocket: `/v1/listen` and `/ingest/websocket`.

use affectd::proto::EmotionEvent;
use futures::{SinkExt, StreamExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::call_fixture::{
    bounded, chunk, connect, last, logs, noise, recognize, same, telephone, tiny,
};
use crate::support::daemon::Options;
use crate::support::websocket_client::{Socket, open, summary};

fn options() -> (tempfile::TempDir, Options) {
    let (folder, options) = tiny();
    (folder, options.set("ingest.tokens", "secret,other").set("calls.linger", "0s"))
}

/// Sends audio at a pace that the daemon keeps, and returns the text messages and the code that closes the connection.
async fn talk(mut socket: Socket, audio: &[u8], pieces: usize) -> (Vec<String>, Option<CloseCode>) {
    for piece in audio.chunks(pieces) {
        socket.send(Message::binary(piece.to_vec())).await.unwrap();
    }
    socket.send(Message::text(r#"{"type":"CloseStream"}"#)).await.unwrap();
    let mut texts = Vec::new();
    loop {
        match bounded("a message", socket.next()).await {
            Some(Ok(Message::Text(text))) => texts.push(text.to_string()),
            Some(Ok(Message::Close(frame))) => return (texts, frame.map(|frame| frame.code)),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return (texts, None),
        }
    }
}

/// Reads to the end of a connection, and returns the code that closes it.
async fn end(mut socket: Socket) -> Option<CloseCode> {
    loop {
        match bounded("the end of the connection", socket.next()).await {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

const LISTEN: &str = "/v1/listen?encoding=mulaw&sample_rate=8000&events=true&token=secret&model=nova-3";

#[tokio::test]
async fn audio_in_messages_of_any_size_gives_the_events_of_grpc_and_a_summary() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    // 1.9 s: what may wait for the engine.
    let audio = noise(15_200, 7);
    let socket = open(&daemon, &format!("{LISTEN}&call_id=call-1")).await.unwrap();
    let (texts, code) = talk(socket, &audio, 743).await;
    assert_eq!(code, Some(CloseCode::Normal));
    let events: Vec<EmotionEvent> = texts
        .iter()
        .map(|text| {
            let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(json["type"], "Emotion");
            json.as_object_mut().unwrap().remove("type");
            serde_json::from_value(json).unwrap()
        })
        .collect();
    let stream_id = &events[0].stream_id;
    let expected =
        recognize(&connect(&daemon).await, vec![last(chunk(stream_id, telephone(), audio))]).await.good();
    same(&events, &expected).unwrap();
    let found = summary(&daemon, "call-1").await;
    assert_eq!((found.source.as_str(), found.end_reason.as_str()), ("websocket", "completed"));
    assert_eq!(
        (found.channels[0].name.as_str(), found.channels[0].windows),
        ("customer", events.len() as u64)
    );
}

#[tokio::test]
async fn only_the_channels_of_the_configuration_are_analysed_and_a_closed_socket_ends_the_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut socket = open(&daemon, "/ingest/websocket?token=other").await.unwrap();
    let start = r#"{"callSid":"call-2","sampleRate":8000,"mixType":"stereo","from":"+49","queue":"sales"}"#;
    socket.send(Message::text(start)).await.unwrap();
    socket.send(Message::binary(noise(48_000, 3))).await.unwrap();
    drop(socket);
    let found = summary(&daemon, "call-2").await;
    assert_eq!(found.end_reason, "disconnected");
    let channels: Vec<_> = found.channels.iter().map(|it| (it.name.as_str(), it.analysed)).collect();
    assert_eq!(channels, [("customer", true), ("agent", false)]);
    assert!(found.attributes["queue"] == "sales" && !found.attributes.contains_key("from"));
}

#[tokio::test]
async fn a_stream_without_an_analysed_channel_is_named_in_the_log() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    for (query, channels) in
        [("channels=2&channel_names=left,right", r#"["left", "right"]"#), ("channels=3", "channels=[]")]
    {
        let path = format!("/v1/listen?encoding=mulaw&sample_rate=8000&token=secret&{query}");
        let mut socket = open(&daemon, &path).await.unwrap();
        socket.send(Message::binary(noise(12_000, 1))).await.unwrap();
        logs(&daemon, "no channel of the stream is analysed for emotions (ingest.analyse)").await;
        logs(&daemon, channels).await;
    }
}

#[tokio::test]
async fn audio_that_the_engine_cannot_keep_up_with_is_dropped_and_counted() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut socket = open(&daemon, &format!("{LISTEN}&call_id=fast")).await.unwrap();
    // A minute at once; the connection stays open for more.
    for _ in 0..30 {
        socket.send(Message::binary(vec![0x55; 16_000])).await.unwrap();
    }
    socket.send(Message::text(r#"{"type":"CloseStream"}"#)).await.unwrap();
    let found = summary(&daemon, "fast").await;
    let duration = found.duration.unwrap().seconds;
    assert!((58..=60).contains(&duration), "positions count what was dropped: {duration} s");
}

#[tokio::test]
async fn wrong_requests_and_oversized_messages_harm_only_their_own_connection() {
    let (_folder, options) = options();
    let daemon = options.set("limits.max_streams", "1").start().await;
    for (path, status) in [
        ("/v1/listen", 403),
        ("/v1/listen?token=wrong", 403),
        ("/v1/listen?token=secret&encoding=opus", 400),
        ("/v1/listen?token=secret&sample_rate=1", 400),
    ] {
        match open(&daemon, path).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    for beginning in [0, 12_000] {
        let mut large = open(&daemon, LISTEN).await.unwrap();
        large.send(Message::binary(noise(beginning, 1))).await.unwrap();
        let _ = large.send(Message::binary(vec![0; 70_000])).await;
        assert_eq!(end(large).await, Some(CloseCode::Size), "after {beginning} bytes");
    }

    let mut first = open(&daemon, &format!("{LISTEN}&call_id=first")).await.unwrap();
    first.send(Message::binary(noise(12_000, 1))).await.unwrap();
    // The event shows that the stream is open.
    bounded("an event", first.next()).await.unwrap().unwrap();
    match open(&daemon, LISTEN).await {
        Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 503),
        other => panic!("{other:?}"),
    }
    talk(first, &[], 1).await;
    assert_eq!(summary(&daemon, "first").await.end_reason, "completed");
}

#[tokio::test]
async fn a_connection_without_audio_is_closed_with_a_code() {
    let (_folder, options) = options();
    let mut daemon = options.set("limits.first_chunk_timeout", "1s").start().await;
    for (text, code) in [
        (r#"{"type":"CloseStream"}"#, CloseCode::Normal),
        (r#"{"type":"KeepAlive"}"#, CloseCode::Policy),
        (r#"{"event":"MEDIA_START","format":"opus"}"#, CloseCode::Unsupported),
        (r#"{"content-type":"audio/g722;rate=16000"}"#, CloseCode::Unsupported),
    ] {
        let mut socket = open(&daemon, LISTEN).await.unwrap();
        socket.send(Message::text(text)).await.unwrap();
        if code == CloseCode::Unsupported {
            socket.send(Message::binary(noise(12_000, 1))).await.unwrap();
        }
        assert_eq!(end(socket).await, Some(code), "{text}");
    }
    let paths = [LISTEN, "/ingest/twilio?token=secret"];
    let waiting = [open(&daemon, paths[0]).await.unwrap(), open(&daemon, paths[1]).await.unwrap()];
    daemon.terminate();
    for (path, socket) in paths.iter().zip(waiting) {
        assert_eq!(end(socket).await, Some(CloseCode::Restart), "{path}");
    }
    assert!(daemon.ended().await.success());
}

#[tokio::test]
async fn the_first_text_that_declares_anything_counts_and_protocols_of_audio_are_echoed() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut request = format!("ws://{}/ingest/websocket", daemon.http).into_client_request().unwrap();
    let protocols = "audio.drachtio.org, token, secret".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocols);
    let (mut socket, response) = bounded("a connection", connect_async(request)).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "audio.drachtio.org");
    for text in [
        r#"{"type":"KeepAlive"}"#,
        "hello",
        r#"{"callSid":"first","sampleRate":8000.0}"#,
        r#"{"queue":"late"}"#,
    ] {
        socket.send(Message::text(text)).await.unwrap();
    }
    // One second, and an empty message before it.
    socket.send(Message::binary(vec![])).await.unwrap();
    socket.send(Message::binary(noise(16_000, 1))).await.unwrap();
    socket.send(Message::text(r#"{"type":"closestream"}"#)).await.unwrap();
    assert_eq!(end(socket).await, Some(CloseCode::Normal));
    let found = summary(&daemon, "first").await;
    assert_eq!((found.duration.unwrap().seconds, found.end_reason.as_str()), (1, "completed"));
    assert!(!found.attributes.contains_key("queue"));
}
