//! The HTTP server: `/metrics`, `/livez`, `/readyz` and a page that links them.
//!
//! Input: a bound port, the handle of the metrics and the daemon's [`Readiness`]. Output: plain text and one page. Invariant: no request changes any
//! state.

mod options;
use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::security::{AuthError, Gate, Peer, Scope};
use crate::telemetry::Readiness;
use crate::transport::Listener;
pub use options::Options;

/// How often the recorder aggregates its samples, so that its memory stays constant if nothing scrapes it.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long responses in flight may take after the shutdown.
const LAST_RESPONSES: Duration = Duration::from_secs(2);

/// What the responses are made of.
#[derive(Clone)]
pub struct State {
    /// The handle that renders the metrics.
    pub metrics: PrometheusHandle,
    /// Whether the daemon accepts work.
    pub readiness: Readiness,
    /// Authenticates and authorises the requests for the page.
    pub gate: Gate,
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
        result = axum::serve(listener, router(state).into_make_service_with_connect_info::<Peer>()).with_graceful_shutdown(shutdown) => result,
        () = upkeep => Ok(()),
        () = deadline => Ok(()),
    }
}

/// Returns the routes without a server.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page).route_layer(from_fn_with_state(state.gate.clone(), authorize_read)))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; see / for what there is\n"))
        .with_state(state)
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Passes a request with the scope `read` on. `/metrics`, `/livez` and `/readyz` need none, because monitors have no credentials.
async fn authorize_read(
    Shared(gate): Shared<Gate>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let error = match gate.authorize(&peer, authorization, Scope::Read) {
        Ok(_) => return next.run(request).await,
        Err(error) => error,
    };
    let text = format!("{error}\n");
    match error {
        AuthError::Scope(_) => (StatusCode::FORBIDDEN, text).into_response(),
        AuthError::TooManyFailures { retry_after } => {
            let seconds = (retry_after.as_secs() + 1).to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], text).into_response()
        }
        _ => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response(),
    }
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

async fn page(Shared(state): Shared<State>) -> Html<String> {
    let (version, status) = (env!("CARGO_PKG_VERSION"), escape(&state.readiness.status().to_string()));
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>affectd</title>\
         <style>body{{font:16px/1.6 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}}</style>\
         <h1>affectd {version}</h1><p>{status}</p><ul>\
         <li><a href=/metrics>/metrics</a> for Prometheus\
         <li><a href=/livez>/livez</a> whether the process answers\
         <li><a href=/readyz>/readyz</a> whether it takes work, and if not, why</ul></html>\n"
    ))
}

/// Escapes text for HTML, since a reason may quote text of a broker or a file.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
