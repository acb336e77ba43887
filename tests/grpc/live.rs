//! `GET /api/live`: the calls of all transports, window by window, and their ends.

use affectd::proto::AudioChunk;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use crate::support::call_fixture::{bounded, chunk, connect, last, noise, recognize, telephone, tiny};
use crate::support::daemon::Daemon;

/// The messages of a feed.
struct Feed(Lines<BufReader<TcpStream>>);

impl Feed {
    async fn open(daemon: &Daemon) -> Feed {
        let mut socket = TcpStream::connect(daemon.http).await.unwrap();
        socket.write_all(b"GET /api/live HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
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
