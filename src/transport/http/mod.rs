//! HTTP: `/metrics`, `/livez`, `/readyz` and a page that links them.
//!
//! In: the metrics' handle and the daemon's [`Readiness`]. Out: plain answers. Never changes any state.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::telemetry::Readiness;

/// How often the recorder folds what it has gathered, so that memory stays flat without scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long answers on their way may take once the server is told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the answers are made of.
#[derive(Clone)]
pub struct State {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Whether the daemon takes work.
    pub readiness: Readiness,
}

/// Serves until `shutdown` ends, then lets answers on their way finish for 2 s at most.
///
/// Dropping the future closes the port and all connections at once.
///
/// # Errors
/// None in practice: accepting is tried again after an error.
pub async fn run(
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
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        result = axum::serve(listener, router(state)).with_graceful_shutdown(shutdown) => result,
        () = upkeep => Ok(()),
        () = deadline => Ok(()),
    }
}

/// The routes by themselves.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
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

/// A reason may quote what came from outside.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
