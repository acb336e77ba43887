//! The gRPC server: recognition, evaluation, health and reflection on one port.
//!
//! Input: a bound port and the services. Output: served calls until the shutdown future completes. Invariant: the health service reports the daemon's
//! readiness, and does so before the first connection is accepted.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::call_service_server::{CallServiceServer, SERVICE_NAME as CALLS};
use crate::proto::evaluation_service_server::SERVICE_NAME as EVALUATION;
use crate::proto::recognition_service_server::{RecognitionServiceServer, SERVICE_NAME as RECOGNITION};
use crate::serving::JobOrigin;
use crate::telemetry::Readiness;
use crate::transport::grpc::evaluation::Evaluation;
use crate::transport::grpc::{Calls, Recognition};

/// The most bytes of a message beside its audio.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// Bytes that a client may send on one stream before its session accepts them: the HTTP/2 flow-control window.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The window of a connection: as large as those of 200 streams, the most that HTTP/2 servers allow by default, so that a session that waits leaves
/// room for the others on its connection.
const CONNECTION_WINDOW_BYTES: u32 = 200 * STREAM_WINDOW_BYTES;
/// How long a connection may be silent before the server sends a ping. A client that vanished would keep its stream open otherwise.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long a client may take to answer the ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Lets a service accept gzip and zstd, and reply in whichever of them the client accepts. A macro, because the generated servers share no trait.
macro_rules! compressed {
    ($service:expr) => {
        $service
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd)
    };
}

/// The services of the server and the size of their messages.
pub struct Services {
    /// The recognition service.
    pub recognition: Recognition,
    /// The service of calls.
    pub calls: Calls,
    /// The evaluation service.
    pub evaluation: Evaluation<JobOrigin>,
    /// The readiness that the health service reports.
    pub readiness: Readiness,
    /// The largest chunk in bytes (`audio.max_chunk_bytes`).
    pub max_chunk_bytes: usize,
    /// The largest file in bytes (`audio.max_file_bytes`).
    pub max_file_bytes: usize,
}

/// Serves calls until `shutdown` completes, then until the last connection is closed.
///
/// Dropping the future closes the port and all connections at once.
///
/// # Errors
/// Returns an error if the server fails.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let Services { recognition, calls, evaluation, readiness, max_chunk_bytes, max_file_bytes } = services;
    let largest_message = max_chunk_bytes.max(max_file_bytes) + ENVELOPE_BYTES;
    let (reporter, health) = tonic_health::server::health_reporter();
    follow_readiness(reporter, &readiness).await;
    let described = "the descriptors are those of the build";
    let recognition = RecognitionServiceServer::new(recognition).max_decoding_message_size(largest_message);
    let (recognition, evaluation) =
        (compressed!(recognition), compressed!(evaluation.into_server(max_file_bytes)));
    let calls = compressed!(CallServiceServer::new(calls));
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(recognition)
        .add_service(evaluation)
        .add_service(calls)
        .add_service(health)
        .add_service(reflection().build_v1().expect(described))
        .add_service(reflection().build_v1alpha().expect(described))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown)
        .await
}

/// Returns the description of all services but reflection itself, which each version of the reflection protocol adds.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Reports the present readiness to the health service, and every later one from a task of its own.
///
/// The first report precedes the first connection, so that a client that checks the health at once receives NOT_SERVING rather than an unknown
/// service.
async fn follow_readiness(reporter: HealthReporter, readiness: &Readiness) {
    let mut status = readiness.subscribe();
    let ready = status.borrow_and_update().is_ready();
    report(&reporter, ready).await;
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let ready = status.borrow_and_update().is_ready();
            report(&reporter, ready).await;
        }
    });
}

async fn report(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ["", RECOGNITION, EVALUATION, CALLS] {
        reporter.set_service_status(service, status).await;
    }
}
