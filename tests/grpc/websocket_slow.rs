//! A client over WebSocket that sends audio, requests events and does not read them.

use futures::{SinkExt, StreamExt};
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::call_fixture::{bounded, metric, metric_reaches, noise, tiny};
use crate::support::daemon::Daemon;
use crate::support::websocket_client::{open, summary};

const PATH: &str = "/v1/listen?encoding=mulaw&sample_rate=8000&events=true&call_id=";
const UNREAD: &str = "affectd_rejected_total{source=\"websocket\",reason=\"unread\"}";
const DROPPED: &str = "affectd_ingest_dropped_seconds_total{source=\"websocket\"}";
/// A second of audio.
const SECOND: usize = 8_000;

/// The memory that the daemon uses, in bytes.
fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_is_ended_with_a_reason() {
    let (_folder, options) = tiny();
    // A window every 10 ms, so that events are many and audio is little.
    let options = options.set("window.hop", "10ms").set("ingest.insecure_loopback", "true");
    let options = options.set("limits.max_utilization_percent", "1000000").set("calls.linger", "0s");
    let daemon = options.set("audio.idle_timeout", "2s").start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = bounded("a connection", socket.connect(daemon.http)).await.unwrap();
    let url = format!("ws://{}{PATH}slow", daemon.http);
    let (mut slow, _) = bounded("the upgrade", client_async(url, stream)).await.unwrap();
    // Large events fill the buffers of the system sooner.
    let note = format!(r#"{{"note":"{}"}}"#, "x".repeat(8_000));
    slow.send(Message::text(note)).await.unwrap();
    let (mut before, mut seconds) = (None, 0);
    while metric(&daemon, UNREAD).await == 0.0 {
        slow.send(Message::binary(noise(SECOND, seconds))).await.unwrap();
        seconds += 1;
        if before.is_none() && metric(&daemon, DROPPED).await > 10.0 {
            before = Some(memory(&daemon));
            // A neighbour of the same kind has its 101 events meanwhile.
            let mut other = open(&daemon, &format!("{PATH}other")).await.unwrap();
            other.send(Message::binary(noise(2 * SECOND, 1))).await.unwrap();
            for _ in 0..101 {
                let event = bounded("an event", other.next()).await.unwrap().unwrap();
                assert!(event.to_text().unwrap().contains("Emotion"), "{event}");
            }
        }
    }
    let grown = memory(&daemon).saturating_sub(before.unwrap());
    assert!(grown < 32 << 20, "{grown} bytes more after {seconds} s of audio");
    let found = summary(&daemon, "slow").await;
    assert_eq!(found.end_reason, "error");
    assert!(found.audio.unwrap().lost.unwrap().seconds > 10, "what was dropped is counted");
    // Behind the events that the system has buffered, the reason ends the connection.
    let mut reason = String::new();
    while let Some(Ok(message)) = bounded("the end of the connection", slow.next()).await {
        if let Message::Close(Some(frame)) = message {
            reason = frame.reason.to_string();
        }
    }
    assert!(reason.contains("no event was read for 2 s (audio.idle_timeout)"), "{reason}");
    metric_reaches(&daemon, "affectd_streams_active", |active| active == 0.0).await;
}
