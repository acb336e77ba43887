//! Alerts of a daemon over gRPC, HTTP, metrics, the summary and a webhook.

use std::sync::Arc;

use affectd::proto::call_service_client::CallServiceClient;
use affectd::proto::{Alert, AudioChunk, CallSummary, Encoding, WatchAlertsRequest};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::call_fixture::{
    bounded, chunk, connect, format, last, metric, metric_reaches, more, recognize,
};
use crate::support::certificates::{Authority, Certificate};
use crate::support::daemon::Options;
use crate::support::gated_talk::model;
use crate::support::speech_fixture::Part::{Silence, Speech};
use crate::support::speech_fixture::{pcm16, talk};

/// A daemon with one rule on silence and one that the tiny model satisfies with every analysed window.
fn options(folder: &std::path::Path) -> Options {
    let options = Options::new().set("model.path", model(folder).to_str().unwrap());
    let options = options.set("engine.device", "cpu").set("calls.linger", "100ms").set("vad.mode", "gate");
    let rules = [
        ("0.name", "quiet"),
        ("0.kind", "non_talk"),
        ("0.for", "3s"),
        ("1.name", "calm"),
        ("1.priority", "high"),
        ("1.kind", "emotion"),
        ("1.emotion", "anger"),
        ("1.below", "0.5"),
        ("1.channel", "customer"),
    ];
    rules.iter().fold(options, |options, (key, value)| options.set(&format!("alert.{key}"), value))
}

fn chunks() -> Vec<AudioChunk> {
    let audio = pcm16(&talk(&[Speech(4_000), Silence(6_000), Speech(3_000)]));
    let mut chunks: Vec<AudioChunk> = audio.chunks(3_200).map(more).collect();
    let first = chunk("stream", format(Encoding::PcmS16le, 16_000, 1), chunks[0].audio.clone());
    let attributes = [("call_id".to_owned(), "call".to_owned()), ("team".to_owned(), "north".to_owned())];
    chunks[0] =
        AudioChunk { attributes: attributes.into(), channel_names: vec!["customer".to_owned()], ..first };
    *chunks.last_mut().unwrap() = last(chunks.last().unwrap().clone());
    chunks
}

fn names(alerts: &[Alert]) -> Vec<(&str, &str)> {
    alerts.iter().map(|alert| (alert.rule.as_str(), alert.state.as_str())).collect()
}

#[tokio::test]
async fn alerts_of_a_call_are_watched_listed_counted_and_part_of_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(folder.path()).start().await;
    assert!(daemon.get("/metrics").await.unwrap().1.contains("affectd_alerts_total{rule=\"quiet\"} 0"));
    let connection = connect(&daemon).await;
    let mut calls = CallServiceClient::new(connection.clone());
    let mut watch = calls.watch_alerts(WatchAlertsRequest {}).await.unwrap().into_inner();
    let events = recognize(&connection, chunks()).await.good();
    let mut alerts = Vec::new();
    while alerts.len() < 4 {
        let response = bounded("an alert", watch.message()).await.unwrap().unwrap();
        assert_eq!(response.missed, 0);
        alerts.extend(response.alert);
    }
    let expected = [("calm", "raised"), ("quiet", "raised"), ("quiet", "cleared"), ("calm", "cleared")];
    assert_eq!(names(&alerts), expected);
    let (anger, quiet) = (&alerts[0], &alerts[1]);
    assert_eq!((anger.call_id.as_str(), anger.stream_id.as_str()), ("call", "stream"));
    assert_eq!((anger.channel_name.as_str(), anger.attributes["team"].as_str()), ("customer", "north"));
    let first: Vec<&str> =
        events[..anger.event_ids.len()].iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(anger.event_ids, first, "the evidence is the first windows");
    assert!(quiet.value >= 3.0 && (3..6).contains(&quiet.start.unwrap().seconds), "{quiet:?}");

    let summary = async {
        loop {
            match daemon.get("/api/calls/call").await.unwrap() {
                (200, json) => return serde_json::from_str::<CallSummary>(&json).unwrap(),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let summary = bounded("the summary", summary).await;
    assert_eq!(names(&summary.alerts), [("calm", "cleared"), ("quiet", "cleared")]);
    let ids = |alert: &Alert| alert.alert_id.clone();
    assert_eq!(
        summary.alerts.iter().map(ids).collect::<Vec<_>>(),
        [anger.alert_id.clone(), quiet.alert_id.clone()]
    );
    let listed = daemon.get("/api/alerts").await.unwrap().1;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["alerts"].as_array().unwrap().len(), 2);
    assert_eq!(listed["alerts"][0]["state"], "cleared");
    assert_eq!(metric(&daemon, "affectd_alerts_total{rule=\"quiet\"}").await, 1.0);
}

#[tokio::test]
async fn the_webhook_receives_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let options = options(folder.path()).set("webhook.url", &url);
    let daemon = options.set("webhook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").start().await;
    let connection = connect(&daemon).await;
    let received = tokio::spawn(async move {
        let mut types = Vec::new();
        while types.len() < 4 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 8_192]);
            let body = loop {
                let count = socket.read(&mut buffer).await.unwrap();
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                if let Ok(body) = serde_json::from_str::<serde_json::Value>(body) {
                    break body;
                }
            };
            let id = body["data"]["alertId"].as_str().unwrap();
            assert!(text.contains(&format!("webhook-id: {id}\r\n")), "{text}");
            types.push(format!(
                "{} {}",
                body["data"]["rule"].as_str().unwrap(),
                body["type"].as_str().unwrap()
            ));
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        types.sort_unstable();
        types
    });
    recognize(&connection, chunks()).await.good();
    let expected = ["calm alert.cleared", "calm alert.raised", "quiet alert.cleared", "quiet alert.raised"];
    assert_eq!(bounded("the requests", received).await.unwrap(), expected);
}

/// A server side of TLS with this certificate.
fn acceptor(certificate: &Certificate) -> tokio_rustls::TlsAcceptor {
    let certificates =
        CertificateDer::pem_file_iter(&certificate.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(certificates, key).unwrap()).into()
}

#[tokio::test]
async fn a_webhook_over_https_needs_a_certificate_that_the_system_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, other) = (Authority::new(folder.path(), "trusted"), Authority::new(folder.path(), "other"));
    let acceptor = acceptor(&trusted.sign(folder.path(), "receiver"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut first = [0; 4];
            socket.read_exact(&mut first).await.unwrap();
            sender.send(first).unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        }
    });
    for (authority, outcome) in [(&other, "retried"), (&trusted, "delivered")] {
        let options = options(folder.path()).set("webhook.url", &url);
        let options = options.set("webhook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let daemon = options.env("SSL_CERT_FILE", authority.file.to_str().unwrap()).start().await;
        recognize(&connect(&daemon).await, chunks()).await.good();
        let series = format!("affectd_webhook_alerts_total{{outcome=\"{outcome}\"}}");
        metric_reaches(&daemon, &series, |count| count >= 1.0).await;
        assert_eq!(requests.try_recv().is_ok(), outcome == "delivered");
    }
    server.abort();
}
