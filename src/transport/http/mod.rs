//! The HTTP server: `/metrics`, `/livez`, `/readyz` and a page that links them.
//!
//! Input: a bound port, the handle of the metrics and the daemon's [`Readiness`]. Output: plain text and one page. Invariant: no request changes any
//! state.

mod calls;
mod options;
use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::calls::CallStore;
use crate::telemetry::Readiness;
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
    /// The summaries of ended calls.
    pub calls: CallStore,
}

/// Serves until `shutdown` completes, then waits up to 2 s for responses in flight.
///
/// Dropping the future closes the port and all connections at once.
///
/// # Errors
/// Returns an error of the listener. There is none in practice, because a connection that cannot be accepted is tried again.
pub async fn serve(
    listener: TcpListener,
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
        result = axum::serve(listener, router(state)).with_graceful_shutdown(shutdown) => result,
        () = upkeep => Ok(()),
        () = deadline => Ok(()),
    }
}

/// Returns the routes without a server.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/calls", get(calls::list))
        .route("/api/calls/{id}", get(calls::one))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; see / for what there is\n"))
        .with_state(state)
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
