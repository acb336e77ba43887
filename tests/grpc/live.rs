//! `GET /api/live`: the calls of all transports, window by window, and their ends.

use affectd::proto::AudioChunk;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};
use tonic::transport::Channel;

use crate::support::call_fixture::{bounded, chunk, connect, last, noise, recognize, telephone, tiny};
use crate::support::daemon::Daemon;

/// The messages of a feed.
struct Feed(Lines<BufReader<TcpStream>>);

impl Feed {
    async fn open(daemon: &Daemon) -> Feed {
        Feed::with_buffer(daemon, 1 << 20).await
    }

    /// Opens a feed of which the system holds `buffer` bytes for the reader.
    async fn with_buffer(daemon: &Daemon, buffer: u32) -> Feed {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
        let mut socket = bounded("a connection", socket.connect(daemon.http)).await.unwrap();
        socket.write_all(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        Feed(BufReader::new(socket).lines())
    }

    /// Returns the next message of a kind.
    async fn next(&mut self, kind: &str) -> Json {
        let event = format!("event: {kind}");
        let found = async {
            while self.0.next_line().await.unwrap().expect("the feed is open") != event {}
            self.0.next_line().await.unwrap().expect("the feed is open")
        };
        let data = bounded(kind, found).await;
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    }
}

fn of_call(stream_id: &str) -> AudioChunk {
    let chunk = last(chunk(stream_id, telephone(), noise(24_000, 5)));
    AudioChunk { attributes: [("call_id".to_owned(), "call-7".to_owned())].into(), ..chunk }
}

#[tokio::test]
async fn a_call_appears_with_its_windows_and_ends() {
    let (_folder, options) = tiny();
    let daemon = options.set("calls.linger", "0s").start().await;
    let mut feed = Feed::open(&daemon).await;
    assert_eq!(feed.next("snapshot").await["calls"], serde_json::json!([]));
    let events = recognize(&connect(&daemon).await, vec![of_call("one")]).await.good();
    let (mut windows, mut ended, mut described) = (Vec::new(), Json::Null, Json::Null);
    while ended.is_null() {
        let mut batch = feed.next("batch").await;
        windows.append(batch["windows"].as_array_mut().unwrap());
        described = batch["calls"].get(0).cloned().unwrap_or(described);
        ended = batch["ended"].get(0).cloned().unwrap_or_default();
    }
    assert_eq!(ended, "call-7");
    assert_eq!((&described["call_id"], &described["stream_ids"][0]), (&"call-7".into(), &"one".into()));
    assert_eq!(windows.len(), events.len());
    for (window, event) in windows.iter().zip(&events) {
        assert_eq!(window["emotion"], event.emotion.as_str());
        let scores = window["scores"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(scores.len(), event.scores.len());
        let sum: u64 = scores.iter().filter_map(Json::as_u64).sum();
        assert!(scores.is_empty() || (995..=1_005).contains(&sum), "{window}");
        assert!(window["loudness"].as_f64().unwrap() > -40.0, "{window}");
    }
    let (status, text) = daemon.get("/api/live/call-7").await.unwrap();
    let call: Json = serde_json::from_str(&text).unwrap();
    assert_eq!((status, call["windows"][0].as_array().unwrap().len()), (200, events.len()));
    assert_eq!(daemon.get("/api/live/other").await.unwrap().0, 404);
    let again = Feed::open(&daemon).await.next("snapshot").await;
    assert_eq!(
        (&again["calls"][0]["call_id"], &again["calls"][0]["ended"]),
        (&"call-7".into(), &true.into())
    );
}

/// Sends a stream of a call and returns the number of its windows.
async fn speak(channel: &Channel, call_id: &str) -> usize {
    let chunk = last(chunk("stream", telephone(), noise(16_000, 5)));
    let attributes = [("call_id".to_owned(), call_id.to_owned())].into();
    recognize(channel, vec![AudioChunk { attributes, ..chunk }]).await.good().len()
}

#[tokio::test]
async fn a_call_id_that_is_used_again_is_another_call() {
    let (_folder, options) = tiny();
    let daemon = options.set("calls.linger", "0s").start().await;
    let (mut feed, channel) = (Feed::open(&daemon).await, connect(&daemon).await);
    let mut since = Vec::new();
    for _ in 0..2 {
        let windows = speak(&channel, "call-7").await;
        let described = loop {
            let batch = feed.next("batch").await;
            let mut calls = batch["calls"].as_array().unwrap().iter();
            if let Some(call) = calls.find(|call| call["summarised"] == true) {
                break call.clone();
            }
        };
        since.push(described["since"].as_i64().unwrap());
        assert_eq!(
            (described["ended"].as_bool(), daemon.get("/api/calls/call-7").await.unwrap().0),
            (Some(true), 200)
        );
        let call: Json = serde_json::from_str(&daemon.get("/api/live/call-7").await.unwrap().1).unwrap();
        assert_eq!(call["windows"][0].as_array().unwrap().len(), windows);
    }
    assert!(since[0] < since[1], "{since:?}");
}

#[tokio::test]
async fn a_reader_that_stops_for_a_while_gets_resync_and_a_snapshot_and_delays_no_other() {
    let (_folder, options) = tiny();
    // Windows with a long id fill the buffers of the system soon.
    let options = options.set("window.hop", "10ms").set("limits.max_id_bytes", "4000");
    let daemon = options.set("limits.max_utilization_percent", "1000000").start().await;
    let mut slow = Feed::with_buffer(&daemon, 4_096).await;
    slow.next("snapshot").await;
    let (channel, long_id) = (connect(&daemon).await, "x".repeat(4_000));
    let mut other = Feed::open(&daemon).await;
    // The buffers of a connection hold a few megabytes, and the daemon sixteen batches more: fewer than these 20 MB and 50 batches.
    for _ in 0..50 {
        let mut missing = speak(&channel, &long_id).await;
        while missing > 0 {
            missing -= other.next("batch").await["windows"].as_array().unwrap().len();
        }
    }
    assert!(slow.next("resync").await["missed"].as_u64().unwrap() > 0);
    let snapshot = slow.next("snapshot").await;
    assert_eq!(snapshot["calls"][0]["call_id"], long_id.as_str());
    speak(&channel, "afterwards").await;
    while slow.next("batch").await["windows"]
        .as_array()
        .unwrap()
        .iter()
        .all(|it| it["call_id"] != "afterwards")
    {}
}
