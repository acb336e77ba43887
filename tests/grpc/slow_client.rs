//! A client that does not read its events slows only its own stream; while it delays a drain, new streams are refused.

use affectd::proto::{Encoding, RecognizeRequest};
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, format, last, metric_reaches, more, noise, recognize, telephone, tiny,
};
use crate::support::daemon::{Daemon, Options};

/// Seconds of audio that the slow client sends: far more than the daemon accepts ahead of the events.
const SECONDS: usize = 40;
const PUBLISHED: &str = "affectd_windows_total{outcome=\"published\"}";

/// A window every 10 ms, so that events are many and audio is little.
fn busy() -> (tempfile::TempDir, Options) {
    let (folder, options) = tiny();
    (folder, options.set("window.hop", "10ms").set("limits.shards", "1"))
}

/// A connection with small windows, so that it buffers almost nothing of a stream that is not read.
async fn narrow(daemon: &Daemon) -> Channel {
    let endpoint = Endpoint::from_shared(daemon.grpc_url()).expect("an address");
    let endpoint = endpoint.initial_stream_window_size(2_048);
    bounded("a connection", endpoint.connect()).await.expect("the daemon listens")
}

/// Opens a stream whose events are not read, and returns when it makes no more progress.
async fn slow_stream(daemon: &Daemon, channel: &Channel) -> (Call, JoinHandle<()>) {
    let mut call = Call::begin(channel, chunk("slow", format(Encoding::PcmS32le, 8_000, 1), [])).await;
    let requests = call.requests();
    let sender = tokio::spawn(async move {
        for second in 0..SECONDS {
            let request = RecognizeRequest { chunk: Some(more(noise(32_000, second as u64))) };
            if requests.send(request).await.is_err() {
                return;
            }
        }
    });
    metric_reaches(daemon, PUBLISHED, |published| published >= 700.0).await;
    (call, sender)
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_only_its_own_stream() {
    let (_folder, options) = busy();
    let daemon = options.start().await;
    let channel = narrow(&daemon).await;
    let (mut slow, sender) = slow_stream(&daemon, &channel).await;
    // On a connection of its own, and on the very same one.
    for channel in [connect(&daemon).await, channel] {
        let audio = vec![last(chunk("neighbour", telephone(), noise(16_000, 1)))];
        assert_eq!(recognize(&channel, audio).await.good().len(), 101);
    }
    assert!(!sender.is_finished(), "the slow stream's audio is not let in ahead of its events");
    let events = slow.rest().await.good();
    let indexes: Vec<u64> = events.iter().map(|event| event.window_index).collect();
    assert!(indexes.iter().copied().eq(0..(SECONDS as u64 - 1) * 100 + 1), "{} events", indexes.len());
}

#[tokio::test]
async fn new_streams_are_refused_while_draining() {
    let (_folder, options) = busy();
    let mut daemon = options.start().await;
    let channel = narrow(&daemon).await;
    let (mut slow, sender) = slow_stream(&daemon, &channel).await;
    let other = connect(&daemon).await;
    daemon.terminate();
    let draining = async {
        while daemon.get("/readyz").await.expect("HTTP is still served").0 != 503 {
            tokio::task::yield_now().await;
        }
    };
    bounded("the drain", draining).await;
    let refused = Call::try_open(&other).await.err().expect("the call is turned away");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("shutting down"), "{refused}");

    let outcome = slow.rest().await;
    assert_eq!(outcome.refusal().0, Code::Unavailable);
    let indexes = outcome.events.iter().map(|event| event.window_index);
    assert!(indexes.eq(0..outcome.events.len() as u64), "every complete window, in order");
    sender.abort();
    assert!(daemon.ended().await.success());
}
