//! Health, readiness, metrics and reflection of a daemon, and the drain that a signal starts.

use std::time::{Duration, Instant};

use affectd::proto::recognition_service_server::SERVICE_NAME;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, last, metric, metric_reaches, more, noise, recognize, shapes, telephone,
    tiny,
};
use crate::support::daemon::Daemon;

fn signal(daemon: &Daemon, name: &str) {
    let kill = std::process::Command::new("kill").arg(name).arg(daemon.pid().to_string()).status();
    assert!(kill.expect("kill is there").success(), "{name} reaches the daemon");
}

async fn drains(name: &str) {
    let (_folder, options) = tiny();
    let mut daemon = options.set("limits.grace_period", "20s").start().await;
    let channel = connect(&daemon).await;
    let mut call = Call::begin(&channel, chunk("call", telephone(), noise(13_600, 1))).await;
    let silent = Call::open(&channel).await;
    assert_eq!(call.events(2).await.len(), 2);
    let started = Instant::now();
    signal(&daemon, name);
    let outcome = call.rest().await;
    assert_eq!(shapes(&outcome.events), [(0, 2, true, 1_000, 1_700)], "{name}: the partial window");
    let (code, message) = outcome.refusal();
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("shutting down") && message.contains("first_sample"), "{message}");
    assert_eq!(silent.finish().await.refusal().0, Code::Unavailable, "{name}: a call without a chunk");
    assert_eq!(daemon.ended().await.code(), Some(0), "{name}");
    assert!(started.elapsed() < Duration::from_secs(20));
    let log = daemon.log();
    assert!(log.contains("draining") && log.contains("drained"), "{name}: {log}");
}

#[tokio::test]
async fn sigterm_drains() {
    drains("-TERM").await;
}

#[tokio::test]
async fn sigint_drains() {
    drains("-INT").await;
}

#[tokio::test]
async fn a_health_watcher_does_not_delay_the_drain() {
    let (_folder, options) = tiny();
    let mut daemon = options.set("limits.grace_period", "30s").start().await;
    let channel = connect(&daemon).await;
    let mut health = HealthClient::new(channel.clone());
    let asked = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    let checked = bounded("health", health.check(asked.clone())).await.expect("an answer").into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    let mut followed = bounded("health", health.watch(asked)).await.expect("an answer").into_inner();
    let first = bounded("health", followed.message()).await.expect("an answer").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);

    let started = Instant::now();
    daemon.terminate();
    let next = bounded("health", followed.message()).await.expect("an answer").expect("a status");
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(20), "{}", daemon.log());
}

#[tokio::test]
async fn a_drain_that_times_out_reports_the_remaining_streams() {
    let (_folder, options) = tiny();
    let mut daemon = options.set("limits.grace_period", "0s").set("window.hop", "10ms").start().await;
    let channel = connect(&daemon).await;
    let mut call = Call::begin(&channel, chunk("call", telephone(), noise(80_000, 2))).await;
    call.event().await;
    daemon.terminate();
    assert_eq!(daemon.ended().await.code(), Some(1));
    let log = daemon.log();
    let error = log.lines().find(|line| line.starts_with("error: ")).expect("one error line");
    assert!(error.contains("limits.grace_period") && error.contains("open gRPC calls"), "{error}");
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let mut client = ServerReflectionClient::new(connect(&daemon).await);
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let requests = tokio_stream::iter([request]);
    let answer = bounded("reflection", client.server_reflection_info(requests)).await.expect("an answer");
    let message = bounded("reflection", answer.into_inner().message()).await.expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = message.and_then(|m| m.message_response) else {
        panic!("a list of services")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in [SERVICE_NAME, "affectd.v1.EvaluationService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
}

#[tokio::test]
async fn metrics_count_streams_chunks_and_windows() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let (status, text) = daemon.get("/readyz").await.expect("HTTP");
    assert_eq!((status, text.trim()), (200, "ready"));
    assert_eq!(daemon.get("/livez").await.expect("HTTP").0, 200);
    assert_eq!(metric(&daemon, "affectd_model_info{name=\"tiny\",version=\"1.0.0\"").await, 1.0);

    let channel = connect(&daemon).await;
    let mut open = Call::begin(&channel, chunk("open", telephone(), noise(8_000, 3))).await;
    open.event().await;
    assert_eq!(metric(&daemon, "affectd_streams_active").await, 1.0);
    let events = recognize(&channel, vec![last(chunk("whole", telephone(), noise(24_000, 4)))]).await.good();
    assert_eq!(events.len(), 5);
    open.send(last(more([]))).await;
    open.rest().await.good();

    metric_reaches(&daemon, "affectd_streams_active", |open| open == 0.0).await;
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"published\"}").await, 6.0);
    assert_eq!(metric(&daemon, "affectd_events_total").await, 6.0);
    assert_eq!(metric(&daemon, "affectd_end_to_end_seconds_count").await, 6.0);
    assert_eq!(metric(&daemon, "affectd_audio_seconds_total{source=\"grpc\"}").await, 4.0);
    assert_eq!(metric(&daemon, "affectd_chunks_total{source=\"grpc\"}").await, 3.0, "chunks, not pieces");

    // A stream whose client disconnects is removed.
    let mut left = Call::begin(&channel, chunk("left", telephone(), noise(8_000, 5))).await;
    left.event().await;
    assert_eq!(metric(&daemon, "affectd_streams_active").await, 1.0);
    drop(left);
    metric_reaches(&daemon, "affectd_streams_active", |open| open == 0.0).await;
}
