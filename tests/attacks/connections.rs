//! Connections and calls that do nothing, too many of them, and clients that never read.

use std::time::{Duration, Instant};

use affectd::proto::{Encoding, RecognizeRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, format, metric, metric_reaches, more, noise, recognize, telephone, tiny,
};
use crate::support::daemon::Daemon;
use crate::support::victim::Victim;

const LIMIT: Duration = Duration::from_secs(3);
const GRPC: &str = "affectd_connections_active{server=\"grpc\"}";
const REFUSED: &str = "affectd_connections_refused_total{server=\"grpc\"}";

/// Opens connections until `count` are made.
async fn sockets(daemon: &Daemon, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    while open.len() < count {
        open.push(bounded("a connection", TcpStream::connect(daemon.grpc)).await.unwrap());
    }
    open
}

/// Waits until the daemon closes a connection.
async fn closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    // Reset or closed: both are an end.
    let _ = bounded("the end of a connection", socket.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed_and_their_number_is_limited() {
    let (_folder, options) = tiny();
    let options = options.set("grpc.max_connections_per_peer", "200").set("grpc.handshake_timeout", "4s");
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let open = sockets(&daemon, 400).await;
    metric_reaches(&daemon, REFUSED, |refused| refused >= 200.0).await;
    assert!(metric(&daemon, GRPC).await <= 200.0);
    for socket in open {
        closed(socket).await;
    }
    metric_reaches(&daemon, GRPC, |open| open <= 1.0).await;
    recognize(&connect(&daemon).await, vec![chunk("after", telephone(), noise(8_000, 1))]).await.good();
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn a_connection_that_stays_within_its_headers_is_closed() {
    let (_folder, options) = tiny();
    let daemon = options.set("grpc.handshake_timeout", "500ms").start().await;
    let victim = Victim::start(&daemon).await;
    let mut half_preface = TcpStream::connect(daemon.grpc).await.unwrap();
    half_preface.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    // The preface, empty settings, and the first 4 of 100 bytes of a HEADERS frame.
    let mut half_headers = TcpStream::connect(daemon.grpc).await.unwrap();
    let frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x64\x01\0\0\0\0\x01abcd";
    half_headers.write_all(frames).await.unwrap();
    closed(half_preface).await;
    closed(half_headers).await;
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn slow_headers_over_http_end_after_ten_seconds() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let mut slow = Vec::new();
    for _ in 0..80 {
        let mut socket = TcpStream::connect(daemon.http).await.unwrap();
        // One over the limit of an address is closed, so the write may fail.
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\nHost: a").await;
        slow.push(socket);
    }
    let started = Instant::now();
    for socket in slow {
        closed(socket).await;
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(daemon.get("/livez").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_daemon_without_descriptors_left_serves_on() {
    let (_folder, options) = tiny();
    let daemon = options.set("grpc.handshake_timeout", "1s").descriptors(128).start().await;
    let victim = Victim::start(&daemon).await;
    let open = sockets(&daemon, 300).await;
    metric_reaches(&daemon, REFUSED, |refused| refused > 0.0).await;
    assert_eq!(daemon.get("/livez").await.unwrap().0, 200);
    for socket in open {
        closed(socket).await;
    }
    recognize(&connect(&daemon).await, vec![chunk("after", telephone(), noise(8_000, 1))]).await.good();
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_call_is_not() {
    let (_folder, options) = tiny();
    let daemon = options.set("grpc.max_connection_idle", "500ms").start().await;
    let victim = Victim::start(&daemon).await;
    let _idle = connect(&daemon).await;
    metric_reaches(&daemon, GRPC, |open| open >= 2.0).await;
    metric_reaches(&daemon, GRPC, |open| open <= 1.0).await;
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn a_call_without_a_chunk_ends() {
    let (_folder, options) = tiny();
    let daemon = options.set("limits.first_chunk_timeout", "300ms").start().await;
    let victim = Victim::start(&daemon).await;
    let channel = connect(&daemon).await;
    for _ in 0..50 {
        drop(Call::open(&channel).await);
    }
    let outcome = Call::open(&channel).await.rest().await;
    let (code, message) = outcome.refusal();
    assert_eq!(code, Code::DeadlineExceeded);
    assert!(message.contains("limits.first_chunk_timeout"), "{message}");
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn the_calls_of_one_connection_are_limited() {
    let (_folder, options) = tiny();
    let daemon = options.set("grpc.max_streams_per_connection", "2").start().await;
    let channel = connect(&daemon).await;
    let mut one = Call::begin(&channel, chunk("one", telephone(), noise(8_000, 1))).await;
    one.event().await;
    let mut two = Call::begin(&channel, chunk("two", telephone(), noise(8_000, 2))).await;
    two.event().await;
    let third = tokio::spawn(async move {
        let outcome = recognize(&channel, vec![chunk("three", telephone(), noise(8_000, 3))]).await;
        outcome.good().len()
    });
    for number in 0..5 {
        one.send(more(noise(4_000, number))).await;
        one.event().await;
        assert!(!third.is_finished() && metric(&daemon, "affectd_streams_active").await < 3.0);
    }
    assert!(two.finish().await.good().len() <= 1);
    assert_eq!(bounded("the third call", third).await.unwrap(), 1);
}

#[tokio::test]
async fn idle_streams_free_their_admission_permits() {
    let (_folder, options) = tiny();
    let options = options.set("limits.max_streams", "11").set("audio.idle_timeout", "1s");
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let channel = connect(&daemon).await;
    let mut idle = Vec::new();
    for number in 0..10 {
        let eight = format(Encoding::Mulaw, 8_000, 8);
        idle.push(Call::begin(&channel, chunk(&format!("idle-{number}"), eight, noise(8, number))).await);
    }
    let newcomer = || recognize(&channel, vec![chunk("newcomer", telephone(), noise(8_000, 1))]);
    for call in &mut idle {
        let outcome = call.rest().await;
        assert_eq!(outcome.refusal().0, Code::DeadlineExceeded, "{:?}", outcome.status);
    }
    newcomer().await.good();
    victim.stop().await.assert_p99(LIMIT);
}

/// A connection whose client library takes almost nothing ahead of its reader.
async fn narrow(daemon: &Daemon) -> Channel {
    let endpoint = Endpoint::from_shared(daemon.grpc_url()).unwrap().initial_stream_window_size(1_024);
    bounded("a connection", endpoint.connect()).await.unwrap()
}

/// Opens streams that are sent as fast as possible and whose events nobody reads.
async fn never_reading(daemon: &Daemon, count: usize) -> Vec<Call> {
    let mut calls = Vec::new();
    for number in 0..count {
        let channel = narrow(daemon).await;
        let first = chunk(&format!("unread-{number}"), telephone(), []);
        let mut call = Call::begin(&channel, first).await;
        let requests = call.requests();
        tokio::spawn(async move {
            for second in 0_u64.. {
                let request = RecognizeRequest { chunk: Some(more(noise(200_000, second))) };
                if requests.send(request).await.is_err() {
                    return;
                }
            }
        });
        calls.push(call);
    }
    calls
}

#[tokio::test]
async fn clients_that_never_read_end_and_delay_nobody() {
    let (_folder, options) = tiny();
    let daemon = options.set("audio.idle_timeout", "2s").start().await;
    let victim = Victim::start(&daemon).await;
    let _calls = never_reading(&daemon, 20).await;
    metric_reaches(&daemon, "affectd_rejected_total{source=\"grpc\",reason=\"unread\"}", |ended| {
        ended >= 20.0
    })
    .await;
    metric_reaches(&daemon, "affectd_streams_active", |open| open <= 1.0).await;
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn a_drain_with_clients_that_never_read_is_bounded_and_succeeds() {
    let (_folder, options) = tiny();
    let mut daemon = options.set("window.hop", "100ms").start().await;
    let _calls = never_reading(&daemon, 8).await;
    metric_reaches(&daemon, "affectd_windows_total{outcome=\"published\"}", |windows| windows >= 8.0 * 70.0)
        .await;
    let started = Instant::now();
    daemon.terminate();
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let log = daemon.log();
    assert!(log.contains("clients did not read their events calls=8"), "{log}");
}
