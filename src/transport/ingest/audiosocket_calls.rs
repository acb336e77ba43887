//! `PUT /api/ingest/audiosocket/{uuid}`: which call an AudioSocket connection belongs to, announced before it opens.
//!
//! Input: requests. Output: the call, the channel and the attributes of a connection. Invariants: an announcement holds for ten minutes, so that a
//! connection may open again; the number of announcements is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use crate::security::Principal;
use crate::stream::InputBounds;
use crate::transport::http::State;

/// How long an announcement holds.
const HELD_FOR: Duration = Duration::from_secs(600);
/// The most announcements that are held.
const MOST: usize = 16_384;
/// The longest name of a call or a channel, in bytes.
const LONGEST_NAME: usize = 256;

/// What a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnouncedCall {
    /// The id of the call.
    pub call_id: String,
    /// The name of the channel.
    #[serde(default = "customer", deserialize_with = "channel")]
    pub channel: String,
    /// What the events repeat.
    #[serde(default, deserialize_with = "attributes")]
    pub attributes: HashMap<String, String>,
    /// The principal that announced it, which its stream belongs to; empty where authentication is off.
    #[serde(skip)]
    pub owner: Arc<str>,
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// It is held.
    Held,
    /// Another principal has announced the connection.
    OfAnother,
    /// The most announcements are held.
    Full,
}

fn customer() -> String {
    "customer".to_owned()
}

/// Reads a name; null is none.
fn channel<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_else(customer))
}

/// Reads attributes, whose values may be numbers and truth values too; those that are null are left out.
fn attributes<'de, D: Deserializer<'de>>(json: D) -> Result<HashMap<String, String>, D::Error> {
    let mut attributes = HashMap::new();
    for (name, value) in Option::<HashMap<String, Value>>::deserialize(json)?.unwrap_or_default() {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(D::Error::custom(format_args!("{name}: not a text, a number or a truth value")));
            }
        };
        attributes.insert(name, text);
    }
    Ok(attributes)
}

/// The calls of connections by their id. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct AnnouncedCalls(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    calls: HashMap<Uuid, (AnnouncedCall, Instant)>,
    /// When announcements expire, in order. An entry that was announced again has no effect.
    expiring: VecDeque<(Instant, Uuid)>,
}

impl AnnouncedCalls {
    fn held(&self, now: Instant) -> MutexGuard<'_, Held> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, id)) = held.expiring.pop_front_if(|(at, _)| *at <= now) {
            if held.calls.get(&id).is_some_and(|(_, expires)| *expires == at) {
                held.calls.remove(&id);
            }
        }
        held
    }

    /// Holds the call of a connection, in place of an earlier one of the same principal.
    pub(super) fn announce(&self, id: Uuid, call: AnnouncedCall, now: Instant) -> Announced {
        let mut held = self.held(now);
        if held.calls.get(&id).is_some_and(|(other, _)| other.owner != call.owner) {
            return Announced::OfAnother;
        }
        if held.expiring.len() >= MOST {
            return Announced::Full;
        }
        let expires = now + HELD_FOR;
        held.expiring.push_back((expires, id));
        held.calls.insert(id, (call, expires));
        Announced::Held
    }

    /// Returns the call of a connection. Without an announcement it is a call by itself.
    pub(super) fn of(&self, id: Uuid, now: Instant) -> AnnouncedCall {
        let held = self.held(now);
        let announced = held.calls.get(&id).map(|(call, _)| call.clone());
        announced.unwrap_or_else(|| AnnouncedCall {
            call_id: id.to_string(),
            channel: customer(),
            attributes: HashMap::new(),
            owner: "".into(),
        })
    }
}

/// Handles the announcement of a connection.
pub(in crate::transport) async fn announce(
    Shared(state): Shared<State>,
    Extension(principal): Extension<Principal>,
    id: Result<Path<Uuid>, PathRejection>,
    call: Result<Json<AnnouncedCall>, JsonRejection>,
) -> Response {
    let Some(calls) = &state.announced_calls else {
        return (StatusCode::NOT_FOUND, "AudioSocket is off (ingest.audiosocket.address)\n").into_response();
    };
    let (id, call) = match (id, call) {
        (Ok(Path(id)), Ok(Json(call))) => (id, call),
        (Err(error), _) => return (error.status(), format!("{error}\n")).into_response(),
        (_, Err(error)) => return (error.status(), format!("{}\n", error.body_text())).into_response(),
    };
    for (key, name) in [("call_id", &call.call_id), ("channel", &call.channel)] {
        if name.is_empty() || name.len() > LONGEST_NAME {
            let text = format!("{key}: {} bytes; allowed are 1 to {LONGEST_NAME}\n", name.len());
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    }
    let bytes: usize = call.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    let limit = state.sessions.get().map_or_else(InputBounds::default, |sessions| sessions.links.bounds);
    let limit = limit.max_attribute_bytes;
    if bytes > limit {
        let text = format!("attributes: {bytes} bytes; allowed are {limit} (limits.max_attribute_bytes)\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let call = AnnouncedCall { owner: principal.name, ..call };
    let (status, text) = match calls.announce(id, call, Instant::now()) {
        Announced::Held => return StatusCode::NO_CONTENT.into_response(),
        Announced::OfAnother => {
            (StatusCode::CONFLICT, format!("uuid: {id}: another principal has announced this connection\n"))
        }
        Announced::Full => {
            let text = format!("{MOST} connections are announced, the most that are allowed\n");
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    };
    (status, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(call_id: &str) -> AnnouncedCall {
        let (call_id, channel) = (call_id.to_owned(), "agent".to_owned());
        AnnouncedCall { call_id, channel, attributes: HashMap::new(), owner: "".into() }
    }

    #[test]
    fn an_announcement_holds_for_its_time_and_can_be_changed() {
        let (calls, now, id) = (AnnouncedCalls::default(), Instant::now(), Uuid::from_u128(1));
        assert_eq!(calls.of(id, now).call_id, id.to_string());
        assert_eq!(calls.announce(id, call("a"), now), Announced::Held);
        assert_eq!(calls.announce(id, call("b"), now + HELD_FOR / 2), Announced::Held);
        assert_eq!(calls.of(id, now + HELD_FOR), call("b"));
        let alone = calls.of(id, now + HELD_FOR * 2);
        assert_eq!((alone.call_id, alone.channel.as_str()), (id.to_string(), "customer"));
    }

    #[test]
    fn announcements_are_bounded() {
        let (calls, now) = (AnnouncedCalls::default(), Instant::now());
        let announce = |number: usize, at| calls.announce(Uuid::from_u128(number as u128), call("a"), at);
        assert!((0..MOST).all(|number| announce(number, now) == Announced::Held));
        assert_eq!(announce(MOST, now), Announced::Full);
        assert_eq!(announce(MOST, now + HELD_FOR), Announced::Held);
    }

    #[test]
    fn a_principal_cannot_change_what_another_one_has_announced() {
        let (calls, now, id) = (AnnouncedCalls::default(), Instant::now(), Uuid::from_u128(1));
        let of = |owner: &str, call_id: &str| AnnouncedCall { owner: owner.into(), ..call(call_id) };
        assert_eq!(calls.announce(id, of("token/a", "one"), now), Announced::Held);
        assert_eq!(calls.announce(id, of("token/b", "two"), now), Announced::OfAnother);
        assert_eq!(calls.of(id, now), of("token/a", "one"));
        assert_eq!(calls.announce(id, of("token/b", "two"), now + HELD_FOR), Announced::Held);
    }
}
