//! The gRPC server: recognition, evaluation, health and reflection on one port.
//!
//! In: the services' links. Out: a router to be served. Health follows the daemon's readiness.

use std::time::Duration;

use tonic::transport::server::{Router, Server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::evaluation_service_server::SERVICE_NAME as EVALUATION;
use crate::proto::recognition_service_server::{RecognitionServiceServer, SERVICE_NAME as RECOGNITION};
use crate::serving::JobOrigin;
use crate::telemetry::Readiness;
use crate::transport::grpc::evaluation::Evaluation;
use crate::transport::grpc::{Recognition, RecognitionLinks};

/// What a message may have beside its audio.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// What a client may send on one stream before its call takes it in.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streams of a connection (200 of them, by HTTP/2's default): a call that is slowed leaves room for the others.
const CONNECTION_WINDOW_BYTES: u32 = 200 * STREAM_WINDOW_BYTES;
/// How often a silent client is asked whether it is still there, and how long it may take to answer: one that vanished must not
/// keep its stream.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// All services of the daemon.
pub async fn routes(
    recognition: RecognitionLinks,
    evaluation: Evaluation<JobOrigin>,
    readiness: Readiness,
) -> Router {
    let audio = &recognition.audio;
    let largest_file = audio.max_file_bytes;
    let largest_chunk = audio.max_chunk_bytes.max(audio.max_file_bytes) + ENVELOPE_BYTES;
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut status = readiness.subscribe();
    // Before the port is served: a client that asks at once is told to wait, never that there is no such service.
    let ready = status.borrow_and_update().is_ready();
    report(&reporter, ready).await;
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let ready = status.borrow_and_update().is_ready();
            report(&reporter, ready).await;
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors are those of the build");
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_service(
            RecognitionServiceServer::new(Recognition::new(recognition))
                .max_decoding_message_size(largest_chunk),
        )
        .add_service(evaluation.into_server(largest_file))
        .add_service(health)
        .add_service(reflection)
}

async fn report(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ["", RECOGNITION, EVALUATION] {
        reporter.set_service_status(service, status).await;
    }
}
