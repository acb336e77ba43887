//! The limit of the models' time: streams beyond it are refused, whatever transport carries them, and open ones go on.

use affectd::proto::Encoding;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::audiohook_client::{Signature, request, with_keys};
use crate::support::audiosocket_client::Client;
use crate::support::call_fixture::{Call, bounded, chunk, connect, format, metric, noise, tiny};
use crate::support::daemon::Daemon;

/// The kind of frame of AudioSocket that ends a call.
const HANG_UP: u8 = 0x00;

/// A daemon whose models may take 5 % of their time: of one session, or of the processors. Streams of sixteen windows a second reach it soon.
async fn daemon() -> (tempfile::TempDir, Daemon) {
    let (folder, options) = tiny();
    let options = with_keys(options).set("engine.sessions", "1").set("limits.max_utilization_percent", "5");
    let options =
        options.set("ingest.insecure_loopback", "true").set("ingest.audiosocket.address", "127.0.0.1:0");
    (folder, options.start().await)
}

/// Opens streams until one is refused. Returns those that are open, and the refusal.
async fn fill(daemon: &Daemon, channels: u32) -> (Vec<Call>, Status) {
    let channel = connect(daemon).await;
    let mut open = Vec::new();
    loop {
        assert!(open.len() < 1_000, "the thousand-and-first stream is let in");
        let audio = noise(channels as usize * 8_000, 1);
        let first = chunk(&Uuid::new_v4().to_string(), format(Encoding::Mulaw, 8_000, channels), audio);
        let mut call = Call::begin(&channel, first).await;
        match call.try_event().await {
            Ok(_) => open.push(call),
            Err(status) => return (open, status),
        }
    }
}

#[tokio::test]
async fn a_stream_beyond_the_capacity_of_the_models_is_refused_and_open_ones_continue() {
    let (_folder, daemon) = daemon().await;
    let (open, refused) = fill(&daemon, 8).await;
    assert!(!open.is_empty(), "one stream is no load: {refused}");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("limits.max_utilization_percent"), "{refused}");
    assert_eq!(metric(&daemon, "affectd_rejected_total{source=\"grpc\",reason=\"busy\"}").await, 1.0);
    for mut call in open {
        call.close();
        assert!(call.rest().await.status.is_none(), "a stream that was let in is not failed");
    }
}

/// Opens a connection of each telephony transport and returns the names of those that are accepted.
async fn accepted(daemon: &Daemon) -> Vec<&'static str> {
    let mut accepted = Vec::new();
    let websocket = |path: &str| format!("ws://{}{path}", daemon.http).into_client_request().unwrap();
    for (name, request) in [
        ("listen", websocket("/v1/listen?encoding=mulaw&sample_rate=8000")),
        ("twilio", websocket("/ingest/twilio")),
        ("audiohook", request(daemon, "session", &Signature::default())),
    ] {
        match bounded("a response", connect_async(request)).await {
            Ok(_) => accepted.push(name),
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 503, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    let mut client = Client::open(daemon, Uuid::new_v4()).await;
    client.audio(&noise(320, 1)).await;
    match client.next().await {
        Some((HANG_UP, _)) => {}
        Some(_) => accepted.push("audiosocket"),
        None => panic!("the connection ends without a hang-up"),
    }
    accepted
}

#[tokio::test]
async fn telephony_beyond_the_capacity_of_the_models_is_refused_before_a_call_begins() {
    let (_folder, daemon) = daemon().await;
    assert_eq!(accepted(&daemon).await.len(), 4, "nothing is open yet");
    let (mut open, _) = fill(&daemon, 8).await;
    // The measured cost of a window may still fall, so that another stream fits.
    for _ in 0..20 {
        open.extend(fill(&daemon, 1).await.0);
        if accepted(&daemon).await.is_empty() {
            return;
        }
    }
    panic!("accepted: {:?} beside {} streams", accepted(&daemon).await, open.len());
}
