//! Who may use a route: a request with the token or the scope, and without either only one that names this server.
//!
//! Input: a request and what its route needs. Output: the request with its principal, or the response that refuses it. Invariant: tokens are compared
//! in constant time.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::wrong;
use crate::security::{AuthError, Gate, Peer, Principal, Scope};
use crate::transport::OwnHost;

/// What a request needs: the token, or the scope.
#[derive(Clone)]
pub(super) struct Needed {
    pub gate: Gate,
    pub token: Option<Arc<str>>,
    pub exposed: bool,
    pub own_host: OwnHost,
    pub scope: Scope,
}

impl Needed {
    /// Returns why a request without the token is refused where authentication is off.
    fn refusal(&self) -> Option<&'static str> {
        match (&self.token, self.exposed) {
            (Some(_), _) => Some("token: missing or wrong (http.token)\n"),
            (None, true) => {
                Some("token: other machines reach http.address: set http.token, or authentication ([auth])\n")
            }
            (None, false) => None,
        }
    }

    /// Returns why a request that needs no credential is refused: pages of other sites reach a server on loopback, too.
    fn foreign(&self, peer: &Peer, request: &Request) -> Option<Response> {
        let needs_credential = self.gate.is_on() || self.token.is_some() || self.exposed;
        if needs_credential {
            return None;
        }
        let text = self.own_host.refusal(request.uri(), request.headers(), peer.address)?;
        Some((StatusCode::FORBIDDEN, format!("{text}\n")).into_response())
    }

    /// Returns whether a request has the token. Compares in constant time.
    fn has_token(&self, authorization: Option<&[u8]>) -> bool {
        let given = authorization.and_then(|value| std::str::from_utf8(value).ok()?.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let equal = |token: &str, given: &str| bool::from(token.as_bytes().ct_eq(given.trim().as_bytes()));
        self.token.as_deref().zip(given).is_some_and(|(token, (_, given))| equal(token, given))
    }
}

/// Passes a request with the token, or with the scope, on with its principal. `/metrics`, `/livez` and `/readyz` need none, because monitors have no credentials.
pub(super) async fn authorize(
    Shared(needed): Shared<Needed>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(refused) = needed.foreign(&peer, &request) {
        return refused;
    }
    let authorization = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let principal = if needed.has_token(authorization) {
        Ok(Principal::anonymous())
    } else if let Some(refusal) = needed.refusal().filter(|_| !needed.gate.is_on()) {
        let response = (StatusCode::FORBIDDEN, refusal);
        // Without a token there is nothing to guess.
        return if needed.token.is_some() { wrong(response) } else { response.into_response() };
    } else {
        needed.gate.authorize(&peer, authorization, needed.scope)
    };
    match principal {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(error) => refused(&error),
    }
}

/// Returns the response to a request that is not authorised.
pub(super) fn refused(error: &AuthError) -> Response {
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

/// Passes a request for the page on, unless it names another host where nothing needs a credential.
pub(super) async fn of_own_host(
    Shared(needed): Shared<Needed>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match needed.foreign(&peer, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}
