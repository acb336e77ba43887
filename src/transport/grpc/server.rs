//! The gRPC server: recognition, evaluation, events, health and reflection on one port.
//!
//! Input: a bound port and the services. Output: served calls until the shutdown future completes. Invariant: the health service reports the daemon's
//! readiness, and does so before the first connection is accepted.

use std::future::Future;

use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::transport::server::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::authorize::authorize;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::call_service_server::{CallServiceServer, SERVICE_NAME as CALLS};
use crate::proto::codec::ENVELOPE_BYTES;
use crate::proto::evaluation_service_server::SERVICE_NAME as EVALUATION;
use crate::proto::event_service_server::{EventServiceServer, SERVICE_NAME as EVENTS};
use crate::proto::recognition_service_server::{RecognitionServiceServer, SERVICE_NAME as RECOGNITION};
use crate::security::Gate;
use crate::serving::JobOrigin;
use crate::stream::MemoryBudget;
use crate::telemetry::Readiness;
use crate::transport::Listener;
use crate::transport::connection::ReadTimeouts;
use crate::transport::connections::{ConnectionLimits, Connections};
use crate::transport::grpc::evaluation::Evaluation;
use crate::transport::grpc::{Calls, Events, Options, Recognition, calls};

/// Bytes that a client may send on one stream before its session accepts them: the HTTP/2 flow-control window.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The most bytes that a connection may send before they are accepted.
const LARGEST_CONNECTION_WINDOW_BYTES: u32 = 50 * 1024 * 1024;
/// The length of the preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Descriptors that connections of gRPC leave to everything else.
const RESERVED_DESCRIPTORS: usize = 256;

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
    /// The event service.
    pub events: Events,
    /// The readiness that the health service reports.
    pub readiness: Readiness,
    /// The largest chunk in bytes (`audio.max_chunk_bytes`).
    pub max_chunk_bytes: usize,
    /// The largest file in bytes (`audio.max_file_bytes`).
    pub max_file_bytes: usize,
    /// Authenticates and authorises the calls.
    pub gate: Gate,
    /// The limits of connections.
    pub options: Options,
    /// The budget of memory for unfinished messages.
    pub budget: MemoryBudget,
}

/// Returns the services behind what every call passes.
async fn routes(services: Services) -> Routes {
    let Services { recognition, evaluation, events, calls: summaries, .. } = services;
    let Services { readiness, gate, max_chunk_bytes, max_file_bytes, budget, .. } = services;
    let largest_message = max_chunk_bytes.max(max_file_bytes) + ENVELOPE_BYTES;
    let (reporter, health) = tonic_health::server::health_reporter();
    follow_readiness(reporter, &readiness).await;
    let described = "the descriptors are those of the build";
    let recognition = RecognitionServiceServer::new(recognition).max_decoding_message_size(largest_message);
    let (recognition, evaluation) =
        (compressed!(recognition), compressed!(evaluation.into_server(max_file_bytes)));
    let (events, summaries) =
        (compressed!(EventServiceServer::new(events)), compressed!(CallServiceServer::new(summaries)));
    let routes = Routes::new(recognition)
        .add_service(evaluation)
        .add_service(events)
        .add_service(summaries)
        .add_service(health)
        .add_service(reflection().build_v1().expect(described))
        .add_service(reflection().build_v1alpha().expect(described));
    let routes = routes
        .into_axum_router()
        .layer(from_fn_with_state(gate, authorize))
        .layer(from_fn_with_state(budget, calls::pass));
    Routes::from(routes)
}

/// Serves calls until `shutdown` completes, then until the last connection is closed.
///
/// Dropping the future closes the port and all connections at once.
///
/// # Errors
/// Returns an error if the server fails.
pub async fn serve(
    listener: Listener,
    services: Services,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let options = services.options.clone();
    let routes = routes(services).await;
    let mut server = Server::builder();
    // As large as the windows of all its streams, so that a session that waits leaves room for the others on its connection.
    let connection_window = (options.max_streams_per_connection as u32)
        .saturating_mul(STREAM_WINDOW_BYTES)
        .min(LARGEST_CONNECTION_WINDOW_BYTES);
    if let Some(age) = options.max_connection_age {
        server = server.max_connection_age(age);
    }
    server
        .max_concurrent_streams(options.max_streams_per_connection as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window)
        // A client that vanished, or stays within the headers of a call, answers no ping.
        .http2_keepalive_interval(Some(options.handshake_timeout))
        .http2_keepalive_timeout(Some(options.handshake_timeout))
        .add_routes(routes)
        .serve_with_incoming_shutdown(listener.into_stream(), shutdown)
        .await
}

/// Returns the connections of a port within the configured limits: they must begin HTTP/2 in time and not be without a call for long.
pub fn connections(listener: TcpListener, options: &Options) -> Connections {
    let timeouts = ReadTimeouts {
        preface: options.handshake_timeout,
        preface_bytes: PREFACE_BYTES,
        idle: options.max_connection_idle,
        writing_is_activity: false,
    };
    let (max, max_per_peer) = (within_descriptors(options.max_connections), options.max_connections_per_peer);
    Connections::new(listener, ConnectionLimits { server: "grpc", max, max_per_peer, timeouts })
}

/// Returns at most `max` connections, and fewer where the process may not have so many descriptors: HTTP, files and Kafka need some too.
fn within_descriptors(max: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    max.min(limit.saturating_sub(RESERVED_DESCRIPTORS).max(limit / 2)).max(1)
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
    for service in ["", RECOGNITION, EVALUATION, EVENTS, CALLS] {
        reporter.set_service_status(service, status).await;
    }
}
