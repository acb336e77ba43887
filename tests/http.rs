//! The HTTP server on a real port: liveness, readiness with reasons, and metrics under their documented names.
//!
//! A binary of its own: the recorder belongs to the whole process, and these tests compare absolute values of its metrics, which
//! a daemon or a batcher in the same process would change.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use affectd::calls::{CallStore, Options};
use affectd::publish::live::LiveTap;
use affectd::security::{Attempts, Gate};
use affectd::telemetry::Readiness;
use affectd::telemetry::metrics::{self, METRICS, MetricKind, Source};
use affectd::transport::http;
use affectd::transport::http::{LiveFeed, SessionSlot, State};
use affectd::transport::ingest::{self, Access};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Server {
    address: SocketAddr,
    readiness: Readiness,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Readiness::starting(&["kafka", "model"]);
    let (sessions, calls) = (SessionSlot::default(), CallStore::new(&Options::default()));
    let state = State {
        metrics: metrics::install(),
        readiness: readiness.clone(),
        gate: Gate::open(),
        token: None,
        exposed: false,
        attempts: Arc::new(Attempts::new(20)),
        sessions,
        calls,
        live: LiveFeed::start(&LiveTap::default(), &Options::default()),
        access: Access::new(
            &ingest::Options::default(),
            &ingest::PrivacyOptions::default(),
            address.ip(),
            &Gate::open(),
        ),
        announced_calls: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    Server {
        address,
        readiness,
        stop,
        task: tokio::spawn(http::serve(http::connections(listener).into(), state, shutdown)),
    }
}

/// Status line and body.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn readiness_changes_from_starting_to_ready_to_draining_with_reasons() {
    let server = start().await;
    let unready = (503, "not ready: kafka: starting; model: starting\n");
    let check = async |(code, body): (u16, &str)| {
        let (status, text) = get(server.address, "/readyz").await;
        assert_eq!(text, body);
        assert!(status.contains(&code.to_string()), "{status}");
    };
    check(unready).await;
    server.readiness.met("model");
    server.readiness.unmet("kafka", "no broker answers");
    check((503, "not ready: kafka: no broker answers\n")).await;
    server.readiness.met("kafka");
    check((200, "ready\n")).await;
    server.readiness.drain();
    check((503, "draining\n")).await;
    assert!(get(server.address, "/livez").await.0.contains("200"));
}

#[tokio::test]
async fn a_readiness_subscriber_is_notified_of_changes_only() {
    let readiness = Readiness::starting(&["model"]);
    let mut follower = readiness.subscribe();
    readiness.met("model");
    assert!(follower.has_changed().unwrap());
    assert!(follower.borrow_and_update().is_ready());
    readiness.met("model");
    assert!(!follower.has_changed().unwrap());
}

#[tokio::test]
async fn the_page_names_its_files_and_all_endpoints_and_other_paths_are_404() {
    let server = start().await;
    let (status, page) = get(server.address, "/").await;
    assert!(status.contains("200"), "{status}");
    for part in ["/metrics", "/livez", "/readyz", "/api/calls"] {
        assert!(page.contains(&format!("href=\"{part}\"")), "{part} is missing in {page}");
    }
    for name in ["app.js", "app.css", "icon.svg"] {
        assert!(page.contains(&format!("\"/assets/{name}\"")), "{name} is missing in {page}");
        assert!(get(server.address, &format!("/assets/{name}")).await.0.contains("200"), "{name}");
    }
    assert!(get(server.address, "/assets/nothing").await.0.contains("404"));
    assert!(get(server.address, "/nothing").await.0.contains("404"));
}

#[tokio::test]
async fn metrics_are_described_start_at_zero_and_durations_are_histograms() {
    let server = start().await;
    let (_, text) = get(server.address, "/metrics").await;
    assert!(text.contains("\naffectd_kafka_commits_total 0\n"), "{text}");
    assert!(text.contains("affectd_windows_total{outcome=\"failed\"} 0\n"), "{text}");
    assert!(text.contains("# HELP affectd_streams_active Streams that are open now\n"), "{text}");
    for metric in METRICS {
        let name = metric.name;
        match metric.kind {
            MetricKind::Counter => assert!(name.ends_with("_total"), "{name}"),
            MetricKind::Histogram(_) => ::metrics::histogram!(name).record(0.5),
            MetricKind::Gauge => {}
        }
    }
    let (_, text) = get(server.address, "/metrics").await;
    assert!(text.contains("# TYPE affectd_end_to_end_seconds histogram\n"), "{text}");
    assert!(text.contains("affectd_inference_seconds_bucket{le=\"0.5\"} 1\n"), "{text}");
    assert!(!text.contains("quantile="), "{text}");
}

#[tokio::test]
async fn fractions_of_audio_seconds_add_up_and_dropped_guards_decrement_gauges() {
    let server = start().await;
    let meter = metrics::ChunkMeter::new(Source::KAFKA);
    for _ in 0..25 {
        meter.chunk();
        meter.audio(Duration::from_millis(100), Duration::from_micros(50));
    }
    let stream = metrics::stream_open();
    let (_, text) = get(server.address, "/metrics").await;
    assert!(text.contains("affectd_chunks_total{source=\"kafka\"} 25\n"), "{text}");
    assert!(text.contains("affectd_audio_seconds_total{source=\"kafka\"} 2\n"), "{text}");
    assert!(text.contains("\naffectd_streams_active 1\n"), "{text}");
    drop(stream);
    let (_, text) = get(server.address, "/metrics").await;
    assert!(text.contains("\naffectd_streams_active 0\n"), "{text}");
}

#[tokio::test]
async fn the_server_stops_on_shutdown_despite_an_incomplete_request() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTT").await.unwrap();
    assert!(get(server.address, "/livez").await.0.contains("200"));
    server.stop.send(()).unwrap();
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, server.task).await.expect("it stops").unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
