//! Twilio Media Streams and those like it: who may connect, what becomes of a stream, and the simulator `streamdouble`.
//!
//! The last test needs a Python with `streamdouble` 0.3.0: `python3`, or the interpreter that `AFFECTD_TEST_PYTHON` names. Without it the test
//! reports that it did not run.

use affectd::audio;
use affectd::client::{self, Credentials, GrpcServer, WatchedEvents};
use affectd::proto::{AudioChunk, CallSummary, EmotionEvent, Encoding, WatchEventsRequest};
use futures::SinkExt;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::call_fixture::{bounded, chunk, connect, format, last, noise, recognize, same, tiny};
use crate::support::daemon::{Daemon, Options};
use crate::support::decoder_entries::file_fixture::{PCM, wav};
use crate::support::gated_talk;
use crate::support::speech_fixture::Part::{self, Silence, Speech};
use crate::support::speech_fixture::{interleaved, pcm16, telephone_talk};
use crate::support::twilio_fixture::{SIZES, Stream};
use crate::support::websocket_client::{Socket, closed, open, summary};

pub fn options() -> (tempfile::TempDir, Options) {
    let (folder, options) = tiny();
    let options = options.set("ingest.insecure_loopback", "true").set("calls.linger", "0s");
    let options = options.set("limits.max_utilization_percent", "1000000");
    (folder, options.set("ingest.analyse", "customer,agent"))
}

/// Sends messages; returns the code that closes the connection. The server must send nothing else.
pub async fn send(mut socket: Socket, messages: &[String]) -> Option<CloseCode> {
    for message in messages {
        // Fails where the server has closed the connection, which the code shows.
        if socket.send(Message::text(message.as_str())).await.is_err() {
            break;
        }
    }
    closed(&mut socket).await
}

/// Speech with pauses of these lengths, as µ-law at 8 kHz.
fn speech(pauses: (usize, usize)) -> Vec<u8> {
    let parts = [Silence(pauses.0), Speech(1_900 - pauses.0 - pauses.1), Silence(pauses.1)];
    audio::encode(&[telephone_talk(&parts)], Encoding::Mulaw).to_vec()
}

/// A WAV file with a talk at 8 kHz.
fn recording(parts: &[Part]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wav(PCM, 16, 1, 8_000, &pcm16(&telephone_talk(parts)))).unwrap();
    file
}

/// Asserts that no audio of a call was lost.
pub fn check_complete(summary: &CallSummary) {
    let audio = summary.audio.as_ref().unwrap();
    assert_eq!(
        (audio.lost, audio.late, audio.holes),
        (Some(Default::default()), 0, 0),
        "{}",
        summary.call_id
    );
}

/// What a summary says apart from the ids, the source and the time.
fn content(summary: CallSummary) -> CallSummary {
    CallSummary {
        summary_id: String::new(),
        call_id: String::new(),
        stream_ids: Vec::new(),
        source: String::new(),
        start_time: None,
        attributes: Default::default(),
        ..summary
    }
}

#[tokio::test]
async fn a_call_over_twilio_websocket_and_grpc_has_the_same_events_and_summary() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().set("model.path", gated_talk::model(folder.path()).to_str().unwrap());
    let options = options.set("engine.device", "cpu").set("ingest.insecure_loopback", "true");
    let daemon = options.set("ingest.analyse", "customer,agent").set("calls.linger", "0s").start().await;
    let server = GrpcServer { authority: daemon.grpc.to_string(), tls: false };
    let watching = client::connect(&server, &Credentials::default()).await.unwrap();
    let filter = WatchEventsRequest::default();
    let mut watch = bounded("the call", WatchedEvents::open(watching, filter)).await.unwrap();
    let (customer, agent) = (speech((0, 600)), speech((900, 0)));
    let tracks = [("outbound", agent.as_slice()), ("inbound", customer.as_slice())];
    let messages = Stream::new("MZ1", "twilio").parameter("queue", "sales").messages(&tracks, &SIZES);
    let socket = open(&daemon, "/ingest/twilio").await.unwrap();
    assert_eq!(send(socket, &messages).await, Some(CloseCode::Normal));
    let over_twilio = summary(&daemon, "twilio").await;

    let both = interleaved(&customer, &agent);
    let first = AudioChunk {
        channel_names: vec!["customer".to_owned(), "agent".to_owned()],
        attributes: [("call_id".to_owned(), "grpc".to_owned())].into(),
        ..chunk("MZ1", format(Encoding::Mulaw, 8_000, 2), both.clone())
    };
    let expected = recognize(&connect(&daemon).await, vec![last(first)]).await.good();
    assert!(expected.len() >= 4, "{expected:?}");
    let mut events: Vec<EmotionEvent> = Vec::new();
    for _ in &expected {
        events.push(bounded("an event", watch.next()).await.unwrap().unwrap());
    }
    same(&events, &expected).unwrap();
    assert!(events.iter().all(|event| event.attributes["queue"] == "sales"));

    let path = "/v1/listen?encoding=mulaw&sample_rate=8000&channels=2&call_id=listen";
    let mut socket = open(&daemon, path).await.unwrap();
    socket.send(Message::binary(both)).await.unwrap();
    socket.send(Message::text(r#"{"type":"CloseStream"}"#)).await.unwrap();
    closed(&mut socket).await;
    assert_eq!(over_twilio.source, "twilio");
    assert_eq!(over_twilio.attributes["account_sid"], "AC1");
    let over_twilio = content(over_twilio);
    assert_eq!(over_twilio, content(summary(&daemon, "grpc").await));
    assert_eq!(over_twilio, content(summary(&daemon, "listen").await));
    check_complete(&over_twilio);
    assert!(over_twilio.channels[0].talk_time.unwrap() != Default::default(), "{:?}", over_twilio.channels);
}

#[tokio::test]
async fn a_signature_is_checked_against_the_public_url_and_others_need_a_token() {
    let (_folder, options) = tiny();
    let options = options.set("ingest.twilio.auth_tokens", "54321,12345").set("ingest.tokens", "secret");
    // A proxy ends TLS: the daemon is reached over plain HTTP under another name.
    let daemon = options.set("ingest.public_url", "https://example.com").start().await;
    let connect = async |path: &str, signature: Option<&str>| {
        let mut request = format!("ws://{}{path}", daemon.http).into_client_request().unwrap();
        if let Some(signature) = signature {
            request.headers_mut().insert("x-twilio-signature", signature.parse().unwrap());
        }
        match bounded("a connection", connect_async(request)).await {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{other}"),
        }
    };
    let good = Some("Hyw7ZkOBPJwhcmIUPvOk7kjwKKw=");
    assert_eq!(connect("/ingest/twilio", good).await, 101);
    assert_eq!(connect("/ingest/twilio/", good).await, 101);
    assert_eq!(connect("/ingest/twilio?token=secret", None).await, 101);
    for (path, signature) in [
        ("/ingest/twilio", None),
        ("/ingest/twilio", Some("Iyw7ZkOBPJwhcmIUPvOk7kjwKKw=")),
        ("/ingest/twilio", Some("")),
        ("/ingest/twilio?token=secret", Some("AAAA")),
        ("/ingest/twilio?token=other", None),
        ("/v1/listen", good),
    ] {
        assert_eq!(connect(path, signature).await, 403, "{path} {signature:?}");
    }
}

#[tokio::test]
async fn services_like_twilio_send_the_same_under_other_names() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let text = |stream_id: &str, start: serde_json::Value, media: serde_json::Value| {
        let message = |event: &str, number: u64| json!({"event": event, stream_id: "s", "sequence_number": number.to_string()});
        let mut messages = [message("start", 1), message("media", 2), message("stop", 3)];
        messages[0]["start"] = start;
        messages[1]["media"] = media;
        messages.map(|message| message.to_string())
    };
    let payload = |bytes: usize| {
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.encode(noise(bytes, 5))
    };
    // One second each.
    let telnyx =
        json!({"call_control_id": "telnyx", "media_format": {"encoding": "PCMA", "sample_rate": 8000}});
    let plivo = json!({"callId": "plivo", "streamId": "s", "contentType": "audio/x-l16;rate=16000"});
    let exotel = json!({"call_sid": "exotel"});
    let calls = [
        ("telnyx", text("stream_id", telnyx, json!({"track": "inbound", "payload": payload(8_000)}))),
        ("plivo", text("streamId", plivo, json!({"timestamp": "1700000000000", "payload": payload(32_000)}))),
        ("exotel", text("stream_sid", exotel, json!({"payload": payload(16_000)}))),
    ];
    for (call_id, messages) in calls {
        let socket = open(&daemon, "/ingest/twilio").await.unwrap();
        assert_eq!(send(socket, &messages).await, Some(CloseCode::Normal), "{call_id}");
        let found = summary(&daemon, call_id).await;
        assert_eq!((found.duration.unwrap().seconds, found.end_reason.as_str()), (1, "completed"));
        let channels: Vec<_> = found.channels.iter().map(|it| (it.name.as_str(), it.windows)).collect();
        assert_eq!(channels, [("customer", 1)], "{call_id}");
    }
    let opus = json!({"call_control_id": "opus", "media_format": {"encoding": "OPUS", "sample_rate": 16000}});
    let messages = text("stream_id", opus, json!({"payload": "AAAA"}));
    let socket = open(&daemon, "/ingest/twilio").await.unwrap();
    assert_eq!(send(socket, &messages).await, Some(CloseCode::Unsupported));
}

#[tokio::test]
async fn a_parameter_names_the_inbound_track_and_personal_attributes_are_dropped() {
    let (_folder, options) = options();
    let options = options.set("ingest.analyse", "customer").set("privacy.keep", "to");
    let daemon = options.set("privacy.hash", "caller").set("privacy.key", "key").start().await;
    let (one, other) = (noise(8_000, 1), noise(8_000, 2));
    let tracks = [("inbound", one.as_slice()), ("outbound", other.as_slice())];
    for (leg, expected) in [
        ("customer", vec![("customer", true), ("agent", false)]),
        ("agent", vec![("customer", true), ("agent", false)]),
        ("supervisor", vec![("supervisor", false), ("agent", false)]),
    ] {
        let stream = Stream::new(leg, leg).parameter("affectd.inbound", leg).parameter("From", "+1");
        let stream = stream.parameter("to", "+2").parameter("caller", "what do ya want for nothing?");
        let socket = open(&daemon, "/ingest/twilio").await.unwrap();
        send(socket, &stream.messages(&tracks, &[160])).await;
        let found = summary(&daemon, leg).await;
        let channels: Vec<_> = found.channels.iter().map(|it| (it.name.as_str(), it.analysed)).collect();
        assert_eq!(channels, expected, "{leg}");
        let mut names: Vec<_> = found.attributes.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            (names.as_slice(), found.attributes["to"].as_str()),
            (&["account_sid", "call_id", "caller", "to"][..], "+2")
        );
        assert_eq!(found.attributes["caller"].len(), 64);
    }
}

#[tokio::test]
async fn streamdouble_places_a_call_of_two_tracks_with_lost_packets() {
    let python = std::env::var("AFFECTD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(&python);
        command.args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
        command.output().await
    };
    let import = run(&["-c", "import streamdouble"]).await;
    if !import.is_ok_and(|output| output.status.success()) {
        return eprintln!("not run: {python} has no streamdouble");
    }
    let (_folder, options) = options();
    let daemon: Daemon = options.start().await;
    let url = format!("ws://{}/ingest/twilio", daemon.http);
    let files = [recording(&[Speech(3_000)]), recording(&[Silence(1_000), Speech(2_000)])];
    let [customer, agent] = files.each_ref().map(|file| file.path().to_str().unwrap());
    let program = "import sys; from streamdouble.cli import main; sys.exit(main())";
    let call = async |call_id: &str, options: &[&str]| {
        let arguments = ["-c", program, "call", &url, "--audio", customer, "--fork", "--track", "both"];
        let rest = ["--agent-audio", agent, "--strict-fork"];
        let output = bounded("the call", run(&[&arguments[..], &rest[..], options].concat())).await.unwrap();
        assert!(output.status.success(), "{call_id}: {}", String::from_utf8_lossy(&output.stderr));
    };
    call("whole", &[]).await;
    call("lossy", &["--packet-loss", "0.3", "--chaos-seed", "7"]).await;
    // The ids are random.
    let listed = async {
        loop {
            let (_, text) = daemon.get("/api/calls").await.unwrap();
            let calls: serde_json::Value = serde_json::from_str(&text).unwrap();
            match calls["calls"].as_array() {
                Some(calls) if calls.len() == 2 => {
                    return serde_json::from_value::<Vec<CallSummary>>(calls.clone().into()).unwrap();
                }
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    let mut calls = bounded("two calls", listed).await;
    calls.sort_by_key(|call| call.audio.as_ref().unwrap().holes);
    let holes: Vec<u64> = calls.iter().map(|call| call.audio.as_ref().unwrap().holes).collect();
    assert!(holes[0] == 0 && holes[1] > 0, "{holes:?}");
    for call in calls {
        assert_eq!((call.source.as_str(), call.end_reason.as_str()), ("twilio", "completed"));
        let names: Vec<_> = call.channels.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names.as_slice(), call.channels[0].windows > 2), (&["customer", "agent"][..], true));
    }
}
