//! Authorisation of calls, and the statuses of what is not authorised.
//!
//! Input: a request with the peer of its connection. Output: the request with its [`Principal`], or a status without any call of a service. Invariants: a
//! path that is not listed needs the scope `admin`; health needs none, because load balancers have no credentials.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

use super::status::exhausted_for;
use crate::proto::call_service_server::SERVICE_NAME as CALLS;
use crate::proto::evaluation_service_server::SERVICE_NAME as EVALUATION;
use crate::proto::event_service_server::SERVICE_NAME as EVENTS;
use crate::proto::recognition_service_server::SERVICE_NAME as RECOGNITION;
use crate::security::{AuthError, Gate, Peer, Principal, QuotaExceeded, Scope};

/// The services with the scope that each needs; `None` needs no credentials.
const SCOPES: &[(&str, Option<Scope>)] = &[
    (RECOGNITION, Some(Scope::Recognize)),
    (EVALUATION, Some(Scope::Evaluate)),
    (EVENTS, Some(Scope::Read)),
    (CALLS, Some(Scope::Read)),
    ("grpc.health.v1.Health", None),
    ("grpc.reflection.v1.ServerReflection", Some(Scope::Read)),
    ("grpc.reflection.v1alpha.ServerReflection", Some(Scope::Read)),
];

/// Passes an authorised request on, with its principal, and refuses another one.
pub(super) async fn authorize(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let service = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let listed = SCOPES.iter().find(|(name, _)| *name == service);
    let principal = match listed.map_or(Some(Scope::Admin), |(_, scope)| *scope) {
        None => Ok(Principal::anonymous()),
        Some(scope) => match request.extensions().get::<Peer>() {
            Some(peer) => gate.authorize(peer, authorization(&request), scope),
            None => Err(AuthError::Missing),
        },
    };
    match principal {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(error) => status_of_auth(&error).into_http(),
    }
}

fn authorization(request: &Request) -> Option<&[u8]> {
    request.headers().get(axum::http::header::AUTHORIZATION).map(|value| value.as_bytes())
}

fn status_of_auth(error: &AuthError) -> Status {
    match error {
        AuthError::Scope(_) => Status::permission_denied(error.to_string()),
        AuthError::TooManyFailures { retry_after } => exhausted_for(error.to_string(), *retry_after),
        _ => Status::unauthenticated(error.to_string()),
    }
}

/// Returns the status of a request that exceeds a limit of its principal.
pub(super) fn status_of_quota(error: &QuotaExceeded) -> Status {
    exhausted_for(error.to_string(), error.retry_after)
}

/// Returns the principal that [`authorize`] has added to a request.
pub(super) fn principal_of<T>(request: &tonic::Request<T>) -> Principal {
    request.extensions().get().cloned().unwrap_or_else(Principal::anonymous)
}
