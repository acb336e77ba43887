//! Twilio Media Streams and those like it (Telnyx, Plivo, Exotel, SignalWire): `/ingest/twilio`.
//!
//! Input: text messages with JSON. Output: one stream with a channel for each track. In data order: `signature` (who may connect) → `message`,
//! `start` (one message) → `order` (by number) → `tracks` (by time, interleaved), all of which `feed` joins → `connection`. Invariants: no data is
//! ever sent, because Twilio ends a stream that receives any; reading never waits for the engine.

mod connection;
mod feed;
mod message;
mod order;
pub(super) mod signature;
mod start;
mod track_audio;
mod tracks;
#[cfg(test)]
mod tracks_tests;

use std::collections::HashMap;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use self::connection::Connection;
use super::Handshake;
use super::admission::admit;
use super::websocket::limited;
use crate::security::Peer;
use crate::transport::http::{State, wrong};

/// The answer to a request that is refused.
const REFUSED: &str =
    "signature or token: missing or wrong (ingest.twilio.auth_tokens with ingest.public_url, ingest.tokens)";

/// The channels of the two tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrackNames {
    pub inbound: String,
    pub outbound: String,
}

/// Handles the request for a connection.
pub(in crate::transport) async fn twilio(
    Shared(state): Shared<State>,
    Query(query): Query<HashMap<String, String>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    (uri, headers): (Uri, HeaderMap),
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let handshake = Handshake { peer: &peer, uri: &uri, headers: &headers };
    let Some(principal) = state.access.twilio_principal(handshake, &query) else {
        return wrong((StatusCode::FORBIDDEN, state.access.refusal(handshake, REFUSED)));
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let (sessions, owner) = match admit(&state, principal) {
        Ok(admitted) => admitted,
        Err(text) => return (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
    };
    let connection = Connection { access: state.access.clone(), sessions, owner };
    limited(upgrade).on_upgrade(|socket| connection.run(socket))
}
