//! The limit of guesses of tokens, API keys and signatures that belong to no principal of `[auth]`.
//!
//! Input: requests and their responses. Output: 429 for an address with too many wrong credentials. Invariants: a request without a credential is no guess; a
//! credential that has been accepted is accepted again, whatever else its address sends.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::authorize::refused;
use crate::security::{Attempts, AuthError, Peer};
use crate::telemetry::metrics;

/// Headers with a credential.
const HEADERS: [&str; 4] = ["authorization", PROTOCOL, "x-twilio-signature", "x-api-key"];

/// The header that may name protocols only.
const PROTOCOL: &str = "sec-websocket-protocol";

/// Marks the response to a request whose credential is wrong.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) struct WrongCredential;

/// Returns a response, marked as that to a wrong credential.
pub(in crate::transport) fn wrong(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.extensions_mut().insert(WrongCredential);
    response
}

/// Passes a request on unless its address has had too many wrong credentials, and counts one that is wrong.
pub(super) async fn limit(
    Shared((attempts, routes)): Shared<(Arc<Attempts>, &'static str)>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let Some(mut credential) = credential(&request) else { return next.run(request).await };
    // Where some routes need no credential, any one is accepted there; it does not count for the others.
    credential.extend_from_slice(routes.as_bytes());
    let address = peer.address.ip();
    if let Err(error) = attempts.check(address, &credential) {
        metrics::auth_failed(error.reason());
        return refused(&error);
    }
    let response = next.run(request).await;
    if response.extensions().get::<WrongCredential>().is_some() {
        metrics::auth_failed(AuthError::UnknownToken.reason());
        attempts.fail(address);
    } else if response.status() != StatusCode::UNAUTHORIZED && response.status() != StatusCode::FORBIDDEN {
        attempts.accept(&credential);
    }
    response
}

/// Returns the credentials of a request; `None` where it has none.
fn credential(request: &Request) -> Option<Vec<u8>> {
    let given_in =
        |name: &'static str| request.headers().get(name).filter(|value| name != PROTOCOL || has_token(value));
    let headers = HEADERS.into_iter().filter_map(given_in).map(|value| value.as_bytes());
    let pairs = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let tokens = pairs.filter_map(|pair| pair.strip_prefix("token=")).map(str::as_bytes);
    let given: Vec<&[u8]> = headers.chain(tokens).collect();
    (!given.is_empty()).then(|| given.join(&b'\n'))
}

/// Returns whether a list of protocols has a token in it.
fn has_token(protocols: &HeaderValue) -> bool {
    let names = protocols.to_str().unwrap_or_default().split(',').map(str::trim);
    names.into_iter().any(|name| name.eq_ignore_ascii_case("token") || name.eq_ignore_ascii_case("bearer"))
}
