//! What every call of the gRPC server passes, whatever its service is.
//!
//! Input: requests with the [`Client`] of their connection. Output: responses; the service finds the [`crate::security::Peer`]. Invariants: a call counts as open until its response is dropped, so a
//! connection with a call is not idle; a message that is not protobuf is the client's error.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

use super::metered_body::{BodyState, MeteredBody};
use super::status::{is_undecodable, undecodable};
use crate::stream::MemoryBudget;
use crate::transport::Client;
use crate::transport::counted_body::CountedBody;

/// Passes a call to its service. Its unfinished messages use `budget`.
pub(super) async fn pass(State(budget): State<MemoryBudget>, mut request: Request, next: Next) -> Response {
    let client = request.extensions_mut().remove::<Client>();
    let open = client.as_ref().map(|client| client.calls.begin());
    if let Some(Client { peer, .. }) = client {
        request.extensions_mut().insert(peer);
    }
    let state = BodyState::default();
    request.extensions_mut().insert(state.clone());
    let request = request.map(|body| Body::new(MeteredBody::new(body, state, &budget)));
    let response = next.run(request).await;
    let response = undecodable_message(&response).map_or(response, Status::into_http);
    response.map(|body| CountedBody::wrap(body, open))
}

/// Returns the status of a call whose only message could not be decoded, which tonic reports as a failure of the server.
fn undecodable_message(response: &Response) -> Option<Status> {
    let status = Status::from_header_map(response.headers())?;
    is_undecodable(&status).then(|| undecodable(&status))
}
