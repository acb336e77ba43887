//! `/api/calls` and `/api/alerts`: the summaries of ended calls, and alerts, as JSON.
//!
//! Input: requests. Output: proto3 JSON of `affectd.v1.CallSummary`, `ListCallsResponse` and `Alert`, the same as gRPC returns.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use super::State;
use crate::proto::ListCallsResponse;
use crate::security::Principal;

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The most calls in the response, 1,000 at most.
    page_size: Option<usize>,
    /// From `nextPageToken` of the response before.
    page_token: Option<u64>,
}

pub(super) async fn list(Shared(state): Shared<State>, Query(query): Query<ListQuery>) -> Response {
    let page = state.calls.page(query.page_size.unwrap_or(100).clamp(1, 1_000), query.page_token);
    let calls = page.calls.into_iter().map(Arc::unwrap_or_clone).collect();
    let next_page_token = page.next.map(|next| next.to_string()).unwrap_or_default();
    Json(ListCallsResponse { calls, next_page_token }).into_response()
}

/// Returns the alerts that are held, the one that changed last first.
pub(super) async fn alerts(Shared(state): Shared<State>) -> Response {
    let newest = state.calls.alerts().newest();
    let alerts: Vec<&crate::proto::Alert> = newest.iter().map(AsRef::as_ref).collect();
    Json(serde_json::json!({ "alerts": alerts })).into_response()
}

pub(super) async fn one(
    Shared(state): Shared<State>,
    Extension(reader): Extension<Principal>,
    Path(call_id): Path<String>,
) -> Response {
    match state.calls.get(&call_id, &reader.name) {
        Some(summary) => Json(summary.as_ref()).into_response(),
        None => {
            let text =
                format!("call_id: {call_id:?}: no summary; the call has not ended or is no longer held\n");
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}
