//! Telnyx: the messages as its documentation shows them, tracks that begin late or never, and messages in another order.

use affectd::proto::CallSummary;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::call_fixture::noise;
use crate::support::daemon::Daemon;
use crate::support::websocket_client::{open, summary};
use crate::twilio::{check_complete, options, send};

const STREAM: &str = "32de0dea-53cb-4b21-89a4-9e1819c043bc";
/// 20 ms of µ-law at 8 kHz.
const FRAME: usize = 160;

fn start(call_id: &str) -> Json {
    json!({"event": "start", "sequence_number": "1", "stream_id": STREAM, "start": {
        "user_id": "3e6f995f-85f7-4705-9741-53b116d28237",
        "call_control_id": call_id,
        "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
        "from": "+13122010094", "to": "+13122123456", "tags": ["TAG1", "TAG2"],
        "client_state": "aGF2ZSBhIG5pY2UgZGF5ID1d",
        "custom_parameters": {"customer_id": "customer_123"},
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}}})
}

/// A call of which a track begins after some frames: the number of its first one, and the timestamp of that, in frames.
struct Track {
    name: &'static str,
    begins: usize,
    first_timestamp: usize,
}

/// The messages of a call of `frames` times 20 ms.
fn messages(call_id: &str, tracks: &[Track], frames: usize) -> Vec<String> {
    let mut messages = vec![json!({"event": "connected", "version": "1.0.0"}), start(call_id)];
    for number in 0..frames {
        for track in tracks.iter().filter(|track| track.begins <= number) {
            let at = number - track.begins;
            let media = json!({
                "track": track.name, "chunk": (at + 1).to_string(),
                "timestamp": ((track.first_timestamp + at) * 20).to_string(),
                "payload": BASE64_STANDARD.encode(noise(FRAME, number as u64)),
            });
            let sequence = messages.len().to_string();
            messages.push(
                json!({"event": "media", "sequence_number": sequence, "stream_id": STREAM, "media": media}),
            );
        }
    }
    let stop = json!({"user_id": "3e6f995f-85f7-4705-9741-53b116d28237", "call_control_id": call_id});
    let sequence = messages.len().to_string();
    messages.push(json!({"event": "stop", "sequence_number": sequence, "stream_id": STREAM, "stop": stop}));
    messages.iter().map(Json::to_string).collect()
}

async fn call(daemon: &Daemon, call_id: &str, messages: &[String]) -> CallSummary {
    let socket = open(daemon, "/ingest/twilio").await.unwrap();
    assert_eq!(send(socket, messages).await, Some(CloseCode::Normal), "{call_id}");
    let found = summary(daemon, call_id).await;
    assert_eq!((found.end_reason.as_str(), found.source.as_str()), ("completed", "twilio"), "{call_id}");
    assert_eq!(found.stream_ids, [STREAM]);
    assert_eq!(found.attributes["customer_id"], "customer_123");
    found
}

fn windows(summary: &CallSummary) -> Vec<(&str, u64)> {
    summary.channels.iter().map(|channel| (channel.name.as_str(), channel.windows)).collect()
}

#[tokio::test]
async fn a_track_that_begins_late_is_silent_before_and_one_without_audio_is_no_channel() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let inbound = || Track { name: "inbound", begins: 0, first_timestamp: 0 };
    let outbound = |begins, first_timestamp| Track { name: "outbound", begins, first_timestamp };
    // 1.9 s: what may wait for the engine. All windows of 1 s begin every 0.5 s; the last one is shorter.
    let both = call(&daemon, "both", &messages("both", &[inbound(), outbound(0, 0)], 95)).await;
    assert_eq!(windows(&both), [("customer", 3), ("agent", 3)]);
    let loudness =
        |summary: &CallSummary| summary.channels[1].loudness.as_ref().unwrap().integrated_lufs.unwrap();
    for (call_id, first_timestamp) in [("from-the-start", 70), ("from-its-own-start", 0)] {
        let tracks = [inbound(), outbound(70, first_timestamp)];
        let late = call(&daemon, call_id, &messages(call_id, &tracks, 95)).await;
        // The window before it is digital silence, which is not analysed.
        assert_eq!(windows(&late), [("customer", 3), ("agent", 2)], "{call_id}");
        assert_eq!((late.duration, loudness(&late) > -30.0), (both.duration, true), "{late:?}");
        check_complete(&late);
    }
    for (call_id, name, channel) in [("one", "inbound", "customer"), ("other", "outbound", "agent")] {
        let track = Track { name, ..inbound() };
        let only = call(&daemon, call_id, &messages(call_id, &[track], 95)).await;
        assert_eq!(windows(&only), [(channel, 3)], "{call_id}");
        check_complete(&only);
    }
}

#[tokio::test]
async fn messages_in_another_order_give_the_same_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let tracks = |name| Track { name, begins: 0, first_timestamp: 0 };
    let sent = |call_id: &str| messages(call_id, &[tracks("inbound"), tracks("outbound")], 95);
    let plain = call(&daemon, "plain", &sent("plain")).await;
    let mut shuffled = sent("shuffled");
    let last = shuffled.len() - 1;
    shuffled[2..last].chunks_mut(7).for_each(<[String]>::reverse);
    let shuffled = call(&daemon, "shuffled", &shuffled).await;
    assert_eq!(
        (&plain.channels, &plain.audio, plain.duration),
        (&shuffled.channels, &shuffled.audio, shuffled.duration)
    );
    check_complete(&shuffled);
}
