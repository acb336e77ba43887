//! The HTTP server: `/metrics`, `/livez`, `/readyz`, the page of live calls with `/api`, and `/v1/analyze` for recordings.
//!
//! Input: a bound port, the handle of the metrics, the daemon's [`Readiness`], its sessions, summaries and live calls. Output: plain text, the page, and
//! JSON. Invariant: only `/v1/analyze` reads a body.

mod analyze;
mod authorize;
mod call_count;
mod calls;
mod guesses;
mod live;
mod options;
mod page;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{any, get, post, put};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::ReadTimeouts;
use super::connections::{ConnectionLimits, Connections};
use crate::calls::CallStore;
use crate::security::{Attempts, Gate, Scope};
use crate::telemetry::Readiness;
use crate::transport::ingest::{self, Access, AnnouncedCalls};
use crate::transport::{Client, Listener};
pub use analyze::{HttpSessions, SessionSlot};
use authorize::{Needed, authorize, of_own_host};
use call_count::count_call;
pub(in crate::transport) use guesses::wrong;
pub use live::LiveFeed;
pub use options::Options;

/// How often the recorder aggregates its samples, so that its memory stays constant if nothing scrapes it.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long responses in flight may take after the shutdown.
const LAST_RESPONSES: Duration = Duration::from_secs(2);

/// How long a client may take to send the headers of a request, also the next one on its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A call over WebSocket is a connection, and a telephony server sends many from one address.
const LIMITS: ConnectionLimits = ConnectionLimits {
    server: "http",
    max: 16_384,
    max_per_peer: 4_096,
    timeouts: ReadTimeouts {
        preface: HEADER_TIMEOUT,
        preface_bytes: 1,
        idle: Duration::from_secs(60),
        writing_is_activity: true,
    },
};

/// What the responses are made of.
#[derive(Clone)]
pub struct State {
    /// The handle that renders the metrics.
    pub metrics: PrometheusHandle,
    /// Whether the daemon accepts work.
    pub readiness: Readiness,
    /// Authenticates and authorises the requests.
    pub gate: Gate,
    /// The token of `http.token`.
    pub token: Option<Arc<str>>,
    /// Whether other machines reach the port, so that requests need the token or authentication.
    pub exposed: bool,
    /// The limit of guesses of the token and of the secrets of telephony.
    pub attempts: Arc<Attempts>,
    /// Where recordings enter the daemon; empty until it has started.
    pub sessions: SessionSlot,
    /// The summaries of ended calls.
    pub calls: CallStore,
    /// The open calls.
    pub live: LiveFeed,
    /// Who may send audio over WebSocket.
    pub access: Access,
    /// The calls of announced AudioSocket connections; `None` where AudioSocket is off.
    pub announced_calls: Option<AnnouncedCalls>,
}

/// Serves until `shutdown` completes, then waits up to 2 s for responses in flight.
///
/// Dropping the future closes the port and all connections at once.
///
/// # Errors
/// Returns an error of the listener. There is none in practice, because a connection that cannot be accepted is tried again.
pub async fn serve(
    listener: Listener,
    state: State,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let metrics = state.metrics.clone();
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let upkeep = async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            metrics.run_upkeep();
        }
    };
    let deadline = async move {
        let _ = stopped.await;
        tokio::time::sleep(LAST_RESPONSES).await;
    };
    tokio::select! {
        () = serve_connections(listener, router(state), shutdown) => Ok(()),
        () = upkeep => Ok(()),
        () = deadline => Ok(()),
    }
}

/// Serves connections until `shutdown` completes, then until the open ones have sent their responses.
async fn serve_connections(
    mut listener: Listener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (open, closing) = (TaskTracker::new(), CancellationToken::new());
    let router = router.layer(from_fn(count_call));
    let mut shutdown = std::pin::pin!(shutdown);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    loop {
        let connection = tokio::select! {
            () = &mut shutdown => break,
            connection = listener.next() => connection,
        };
        let Client { peer, calls } = connection.client().clone();
        let router = router.clone().layer(Extension(ConnectInfo(peer))).layer(Extension(calls));
        let service = TowerToHyperService::new(router);
        // A WebSocket leaves the connection to its own task.
        let serving = server.serve_connection(TokioIo::new(connection), service).with_upgrades();
        let closing = closing.clone();
        open.spawn(async move {
            let mut serving = std::pin::pin!(serving);
            // An error ends its connection only.
            tokio::select! {
                _ = serving.as_mut() => return,
                () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
            }
            let _ = serving.await;
        });
    }
    drop(listener);
    closing.cancel();
    open.close();
    open.wait().await;
}

/// Returns the connections of a port.
#[must_use]
pub fn connections(port: TcpListener) -> Connections {
    Connections::new(port, LIMITS)
}

/// Returns the routes without a server.
pub fn router(state: State) -> Router {
    let needing = |scope| Needed {
        gate: state.gate.clone(),
        token: state.token.clone(),
        exposed: state.exposed,
        own_host: state.access.own_host().clone(),
        scope,
    };
    let limited = |routes: &'static str| from_fn_with_state((state.attempts.clone(), routes), guesses::limit);
    let calls = calls_api().route_layer(from_fn_with_state(needing(Scope::Read), authorize));
    Router::new()
        // The page holds no data; what it shows comes from `/api`.
        .merge(page_files().route_layer(from_fn_with_state(needing(Scope::Read), of_own_host)))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(calls.route_layer(limited("api")))
        .merge(
            audio_api()
                .route_layer(from_fn_with_state(needing(Scope::Recognize), authorize))
                .route_layer(limited("api")),
        )
        .merge(telephony().route_layer(limited("ingest")))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; see / for what there is\n"))
        .with_state(state)
}

/// Returns the routes of the page.
fn page_files() -> Router<State> {
    Router::new().route("/", get(page::index)).route("/assets/{name}", get(page::file))
}

/// Returns the routes of recordings, and of calls that are announced.
fn audio_api() -> Router<State> {
    Router::new()
        .route("/v1/analyze", post(analyze::analyze))
        .route("/api/ingest/audiosocket/{uuid}", put(ingest::announce))
}

/// Returns the routes of telephony, which has credentials of its own.
fn telephony() -> Router<State> {
    Router::new()
        .route("/v1/listen", any(ingest::listen))
        .route("/ingest/websocket", any(ingest::listen))
        .route("/ingest/audiohook", any(ingest::audiohook))
        .route("/ingest/twilio", any(ingest::twilio))
        .route("/ingest/twilio/", any(ingest::twilio))
}

/// Returns the routes of calls.
fn calls_api() -> Router<State> {
    Router::new()
        .route("/api/calls", get(calls::list))
        .route("/api/calls/{id}", get(calls::one))
        .route("/api/alerts", get(calls::alerts))
        .route("/api/live", get(live::stream))
        .route("/api/live/{id}", get(live::call))
}

async fn readyz(Shared(state): Shared<State>) -> impl IntoResponse {
    let status = state.readiness.status();
    let code = if status.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{status}\n"))
}

async fn metrics(Shared(state): Shared<State>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], crate::telemetry::metrics::render(&state.metrics))
}
