//! Genesys AudioHook: `/ingest/audiohook`.

use std::time::Duration;

use affectd::client::{self, Credentials, GrpcServer, WatchedEvents};
use affectd::proto::{AudioChunk, Encoding, WatchEventsRequest};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::audiohook_client::{Client, PROBE, Signature, open, refused, request, with_keys};
use crate::support::call_fixture::{
    bounded, chunk, connect, format, last, metric_reaches, noise, recognize, same, tiny,
};
use crate::support::daemon::Options;
use crate::support::websocket_client::summary;

fn options() -> (tempfile::TempDir, Options) {
    let (folder, options) = tiny();
    (folder, with_keys(options).set("calls.linger", "0s"))
}

#[tokio::test]
async fn a_session_gives_the_events_of_grpc_and_a_summary() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let server = GrpcServer { authority: daemon.grpc.to_string(), tls: false };
    let watching = client::connect(&server, &Credentials::default()).await.unwrap();
    let filter =
        WatchEventsRequest { stream_ids: vec!["session-1".to_owned()], ..WatchEventsRequest::default() };
    let mut events = bounded("the call", WatchedEvents::open(watching, filter)).await.unwrap();
    // 1.9 s: what may wait for the engine.
    let audio = noise(30_400, 7);
    let mut client = Client::open(&daemon, "session-1", "call-1").await;
    client.audio(&audio, 3_200).await;
    client.send("ping", json!({"rtt": "PT0.02S"})).await;
    client.answer("pong").await;
    client.send("update", json!({"language": "de-DE"})).await;
    client.send("error", json!({"code": 429, "message": "slow down"})).await;
    client.close("end").await;

    let found = summary(&daemon, "call-1").await;
    assert_eq!((found.source.as_str(), found.end_reason.as_str()), ("audiohook", "completed"));
    assert_eq!(found.stream_ids, ["session-1"]);
    let channels: Vec<_> = found.channels.iter().map(|it| (it.name.as_str(), it.analysed)).collect();
    assert_eq!(channels, [("customer", true), ("agent", false)]);
    assert_eq!((&*found.attributes["queue"], &*found.attributes["participant_id"]), ("sales", "p"));
    assert!(["ani", "aniName", "dnis"].iter().all(|name| !found.attributes.contains_key(*name)));

    let mut received = Vec::new();
    for _ in 0..found.channels[0].windows {
        received.push(bounded("an event", events.next()).await.unwrap().unwrap());
    }
    let both = chunk("session-1", format(Encoding::Mulaw, 8_000, 2), audio);
    let names = vec!["customer".to_owned(), "agent".to_owned()];
    let both = AudioChunk { channel_names: names, ..last(both) };
    let mut expected = recognize(&connect(&daemon).await, vec![both]).await.good();
    expected.retain(|event| event.channel == 0);
    same(&received, &expected).unwrap();
    assert_eq!(received[0].channel_name, "customer");
}

#[tokio::test]
async fn a_request_without_a_valid_signature_is_refused() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let signature = Signature::default;
    for (wrong, change) in [
        ("the secret", Signature { secret: b"another", ..signature() }),
        ("the key", Signature { key: "other", ..signature() }),
        ("no signature", Signature { secret: b"", ..signature() }),
        ("the clock ahead", Signature { ahead: 60, ..signature() }),
        ("the clock behind", Signature { ahead: -60, ..signature() }),
    ] {
        assert_eq!(refused(request(&daemon, "s", &change)).await, 401, "{wrong}");
    }
    for name in ["audiohook-organization-id", "audiohook-session-id", "x-api-key", "signature"] {
        let mut changed = request(&daemon, "s", &signature());
        changed.headers_mut().remove(name);
        assert_eq!(refused(changed).await, 401, "{name} missing");
    }
    let (status, _) = daemon.get("/ingest/audiohook").await.unwrap();
    assert_eq!(status, 401, "a plain request");
    let unsigned = request(&daemon, "s", &Signature { key: "unsigned", secret: b"", ahead: 0 });
    bounded("a connection", connect_async(unsigned)).await.expect("a key without a secret comes unsigned");
}

#[tokio::test]
async fn a_probe_is_answered_and_makes_no_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut client = Client::open(&daemon, "probe", PROBE).await;
    client.empty().await;
    client.close("end").await;
    let mut after = Client::open(&daemon, "after", "after").await;
    after.audio(&noise(3_200, 1), 3_200).await;
    after.close("end").await;
    summary(&daemon, "after").await;
    assert_eq!(daemon.get(&format!("/api/calls/{PROBE}")).await.unwrap().0, 404);
}

#[tokio::test]
async fn pauses_and_discarded_audio_are_holes() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut client = Client::open(&daemon, "paused", "paused").await;
    client.audio(&noise(8_000, 1), 3_200).await;
    client.send("paused", json!({})).await;
    client.audio(&noise(8_000, 2), 3_200).await;
    client.send("paused", json!({})).await;
    client.send("resumed", json!({"start": "PT0.5S", "discarded": "PT3S"})).await;
    client.audio(&noise(8_000, 3), 3_200).await;
    client.send("discarded", json!({"start": "PT4S", "discarded": "PT1S"})).await;
    client.audio(&noise(8_000, 4), 3_200).await;
    client.close("end").await;
    let found = summary(&daemon, "paused").await;
    let duration = found.duration.unwrap();
    assert_eq!(
        (duration.seconds, duration.nanos),
        (5, 500_000_000),
        "three times 0.5 s, and 4 s without audio"
    );
    let audio = found.audio.unwrap();
    assert_eq!(audio.holes, 2);
    // What came while the session was paused counts as lost too.
    assert_eq!(audio.lost.map(|lost| (lost.seconds, lost.nanos)), Some((4, 500_000_000)));
}

#[tokio::test]
async fn a_client_that_does_not_keep_the_protocol_ends_its_own_session_only() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut other = Client::open(&daemon, "other", "other").await;
    let ping = |seq: u64, server_seq: u64, id: &str| {
        json!({
            "version": "2", "id": id, "type": "ping", "seq": seq, "serverseq": server_seq, "position": "PT0S",
            "parameters": {},
        })
        .to_string()
    };
    for (name, text, expected) in [
        ("a message is missing", ping(3, 1, "wrong"), "seq: 3"),
        ("a message comes twice", ping(1, 1, "wrong"), "seq: 1"),
        ("a message that was not sent", ping(2, 2, "wrong"), "serverseq: 2"),
        ("another session", ping(2, 1, "other"), "id: "),
        ("a message that is cut", ping(2, 1, "wrong")[..40].to_owned(), "message: "),
        ("no message", "hello".to_owned(), "message: "),
        ("an unknown type", ping(2, 1, "wrong").replace("ping", "pong"), "type: "),
    ] {
        let mut client = Client::open(&daemon, "wrong", name).await;
        client.audio(&noise(3_200, 1), 3_200).await;
        client.send_text(&text).await;
        let (reason, info) = client.disconnected().await;
        assert!(reason == "error" && info.contains(expected), "{name}: {reason}: {info}");
        // Audio and messages that were on their way have no effect.
        client.audio(&noise(3_201, 1), 3_201).await;
        client.send_text(&text).await;
        client.seq = 7;
        client.close("disconnect").await;
        assert_eq!(summary(&daemon, &name.replace(' ', "%20")).await.end_reason, "error", "{name}");
    }
    for (name, parameters) in [
        ("another organization", json!({"organizationId": "another"})),
        ("no media", json!({"media": []})),
        ("no conversation", json!({"conversationId": null})),
    ] {
        let mut client = Client::connect(&daemon, "wrong").await;
        let mut changed = open("wrong");
        changed.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        client.send("open", changed).await;
        assert_eq!(client.disconnected().await.0, "error", "{name}");
    }
    let mut early = Client::connect(&daemon, "wrong").await;
    early.audio(&noise(3_200, 1), 3_200).await;
    let (reason, info) = early.disconnected().await;
    assert!(reason == "error" && info.contains("before opened"), "{info}");
    other.audio(&noise(3_200, 1), 3_200).await;
    other.close("end").await;
}

#[tokio::test]
async fn oversized_messages_half_frames_and_sockets_that_close_end_their_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let mut half = Client::open(&daemon, "half", "half").await;
    half.audio(&noise(3_199, 1), 3_199).await;
    assert!(half.disconnected().await.1.starts_with("audio: 3199 bytes"));
    for (name, bytes) in [("large", 70_000), ("closed", 3_200)] {
        let mut client = Client::open(&daemon, name, name).await;
        client.audio(&noise(3_200, 1), 3_200).await;
        client.audio(&noise(bytes, 1), bytes).await;
        if name == "large" {
            assert_eq!(client.close_code().await, Some(CloseCode::Size));
        }
        drop(client);
        assert_eq!(summary(&daemon, name).await.end_reason, "disconnected", "{name}");
    }
    let mut failed = Client::open(&daemon, "failed", "failed").await;
    failed.audio(&noise(3_200, 1), 3_200).await;
    failed.close("error").await;
    assert_eq!(summary(&daemon, "failed").await.end_reason, "error");
}

#[tokio::test]
async fn silent_clients_are_disconnected_and_a_ping_keeps_a_session_open() {
    let (_folder, options) = options();
    let options = options.set("audio.idle_timeout", "1s").set("limits.first_chunk_timeout", "1s");
    let daemon = options.start().await;
    let mut new = Client::connect(&daemon, "new").await;
    assert!(new.disconnected().await.1.contains("limits.first_chunk_timeout"));
    assert_eq!(new.next().await, None, "the connection is closed some time after");
    let mut probe = Client::open(&daemon, "probe", PROBE).await;
    assert!(probe.disconnected().await.1.contains("audio.idle_timeout"));
    probe.close("disconnect").await;
    let mut silent = Client::open(&daemon, "silent", "silent").await;
    silent.audio(&noise(3_200, 1), 3_200).await;
    let mut paused = Client::open(&daemon, "paused", "paused").await;
    paused.send("paused", json!({})).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        paused.send("ping", json!({})).await;
        paused.answer("pong").await;
    }
    assert!(silent.disconnected().await.1.contains("audio.idle_timeout"));
    silent.close("disconnect").await;
    paused.close("end").await;
    assert_eq!(summary(&daemon, "silent").await.end_reason, "disconnected");
    assert_eq!(summary(&daemon, "paused").await.end_reason, "completed");
}

#[tokio::test]
async fn a_drain_requests_the_end_of_sessions_and_a_limit_refuses_connections() {
    let (_folder, options) = options();
    let mut daemon = options.set("limits.max_streams", "1").start().await;
    let mut client = Client::open(&daemon, "first", "first").await;
    client.audio(&noise(3_200, 1), 3_200).await;
    metric_reaches(&daemon, "affectd_streams_active", |active| active == 1.0).await;
    assert_eq!(refused(request(&daemon, "second", &Signature::default())).await, 503);
    daemon.terminate();
    let (reason, _) = client.disconnected().await;
    assert_eq!(reason, "completed");
    client.close("disconnect").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_hundred_sessions_at_once_and_a_client_that_sends_faster_than_speech() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let sessions = (0..100).map(async |number: u64| {
        let name = format!("session-{number}");
        let mut client = Client::open(&daemon, &name, &name).await;
        client.audio(&noise(16_000, number), 743 * 2).await;
        client.close("end").await;
        summary(&daemon, &name).await
    });
    for found in futures::future::join_all(sessions).await {
        assert_eq!((found.end_reason.as_str(), found.duration.unwrap().seconds), ("completed", 1));
        assert_eq!((found.channels[0].windows, found.audio.unwrap().lost), (1, Some(Default::default())));
    }
    // A minute at once: the oldest audio is dropped, and the position goes on.
    let mut fast = Client::open(&daemon, "fast", "fast").await;
    fast.audio(&noise(960_000, 1), 32_000).await;
    fast.close("end").await;
    let duration = summary(&daemon, "fast").await.duration.unwrap().seconds;
    assert!((58..=60).contains(&duration), "{duration} s");
    metric_reaches(&daemon, "affectd_streams_active", |active| active == 0.0).await;
}
