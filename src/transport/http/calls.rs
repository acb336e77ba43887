//! `/api/calls` and `/api/alerts`: the summaries of ended calls, and alerts, as JSON.
//!
//! Input: requests. Output: proto3 JSON of `affectd.v1.CallSummary`, `ListCallsResponse` and `Alert`, the same as gRPC returns.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Deserializer};

use super::State;
use crate::calls::page_size;
use crate::proto::ListCallsResponse;
use crate::security::Principal;

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The most calls or alerts in the response, 1,000 at most; 0 or nothing means 100.
    #[serde(deserialize_with = "present")]
    page_size: Option<u32>,
    /// From `nextPageToken` of the response before; nothing means the first page.
    #[serde(deserialize_with = "present")]
    page_token: Option<u64>,
}

impl ListQuery {
    fn size(&self) -> usize {
        page_size(self.page_size.unwrap_or(0))
    }
}

/// Reads a value of a query; `None` where it is empty.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

pub(super) async fn list(Shared(state): Shared<State>, Query(query): Query<ListQuery>) -> Response {
    let page = state.calls.page(query.size(), query.page_token);
    let calls = page.calls.into_iter().map(Arc::unwrap_or_clone).collect();
    let next_page_token = page.next.map(|next| next.to_string()).unwrap_or_default();
    Json(ListCallsResponse { calls, next_page_token }).into_response()
}

/// Returns the alerts that are held, the one that changed last first.
pub(super) async fn alerts(Shared(state): Shared<State>, Query(query): Query<ListQuery>) -> Response {
    let (newest, next) = state.calls.alerts().page(query.size(), query.page_token);
    let alerts: Vec<&crate::proto::Alert> = newest.iter().map(AsRef::as_ref).collect();
    let next = next.map(|next| next.to_string()).unwrap_or_default();
    Json(serde_json::json!({ "alerts": alerts, "nextPageToken": next })).into_response()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Option<(usize, Option<u64>)> {
        let uri = format!("/api/calls{text}").parse().unwrap();
        let Query(query) = Query::<ListQuery>::try_from_uri(&uri).ok()?;
        Some((query.size(), query.page_token))
    }

    #[test]
    fn a_value_of_a_query_that_is_zero_or_empty_means_the_same_as_none() {
        for text in ["", "?page_size=0", "?page_token=", "?page_size=&page_token="] {
            assert_eq!(query(text), Some((100, None)), "{text}");
        }
        assert_eq!(query("?page_size=9&page_token=0"), Some((9, Some(0))));
        assert_eq!(query("?page_size=5000"), Some((1_000, None)));
        for text in ["?page_size=-1", "?page_size=many", "?page_token=x", "?size=1"] {
            assert_eq!(query(text), None, "{text}");
        }
    }
}
