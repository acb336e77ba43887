//! `GET /api/live`: the open calls, and what happens in them, as server-sent events.
//!
//! Input: items of the live tap. Output: to each client `snapshot`, then a `batch` every 250 ms in which something has changed; a client that
//! reads too slowly gets `resync` and a new snapshot. In data order: `board` (the calls) → `held_call` (one of them) → `view` (its JSON) → this module (the task that
//! owns the board, and the responses). Invariants: a client delays neither the engine nor another client; each batch is serialised once.

mod board;
mod held_call;
mod view;

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use self::board::Board;
use super::State;
use crate::calls::Options;
use crate::publish::live::{LiveItem, LiveTap};

/// Time between two batches.
const PERIOD: Duration = Duration::from_millis(250);
/// Longest time without a message, after which an empty batch is sent.
const QUIET: u32 = 8;
/// Batches that a client may be behind before it gets a snapshot instead.
const ROOM: usize = 16;
/// Requests of clients that may wait for the task.
const REQUESTS: usize = 64;

/// The requests to the task that owns the board. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct LiveFeed(mpsc::Sender<Request>);

#[derive(Debug)]
enum Request {
    /// A snapshot, and the batches that follow it.
    Watch(oneshot::Sender<(Bytes, broadcast::Receiver<Bytes>)>),
    /// One call with all its windows.
    Call(String, oneshot::Sender<Option<String>>),
}

impl LiveFeed {
    /// Starts the task that follows the tap until the tap is dropped. Requires a runtime.
    #[must_use]
    pub fn start(tap: &LiveTap, options: &Options) -> Self {
        let (sender, requests) = mpsc::channel(REQUESTS);
        tokio::spawn(follow(tap.observe(), Board::new(options), requests));
        Self(sender)
    }

    async fn watch(&self) -> Option<(Bytes, broadcast::Receiver<Bytes>)> {
        let (reply, replied) = oneshot::channel();
        self.0.send(Request::Watch(reply)).await.ok()?;
        replied.await.ok()
    }
}

/// Follows the tap, and replies to requests, until the tap is dropped.
async fn follow(
    mut items: broadcast::Receiver<LiveItem>,
    mut board: Board,
    mut requests: mpsc::Receiver<Request>,
) {
    let batches = broadcast::Sender::<Bytes>::new(ROOM);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut quiet = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                board.expire(Instant::now());
                quiet = publish(&mut board, &batches, quiet);
            }
            item = items.recv() => match item {
                Ok(item) => {
                    board.add(&item, (Instant::now(), time()), batches.receiver_count() > 0);
                }
                Err(RecvError::Lagged(missed)) => board.missed(missed),
                Err(RecvError::Closed) => break,
            },
            Some(request) = requests.recv() => match request {
                Request::Watch(reply) => {
                    // What has changed since the last batch is part of the snapshot, so the others receive it first.
                    quiet = publish(&mut board, &batches, quiet);
                    let snapshot = message("snapshot", &board.snapshot(time()));
                    // Fails only if the client has gone.
                    let _ = reply.send((snapshot, batches.subscribe()));
                }
                Request::Call(call_id, reply) => {
                    let call = board.call(&call_id).and_then(|call| serde_json::to_string(&call).ok());
                    let _ = reply.send(call);
                }
            },
        }
    }
}

/// Sends a batch where something has changed, or nothing has been sent for long; returns the ticks since the last one.
fn publish(board: &mut Board, batches: &broadcast::Sender<Bytes>, quiet: u32) -> u32 {
    if batches.receiver_count() == 0 {
        board.drop_batch();
        return 0;
    }
    let time = time();
    let batch = match board.take_batch(time) {
        Some(batch) => batch,
        None if quiet < QUIET => return quiet + 1,
        None => view::Batch { time, ..view::Batch::default() },
    };
    // Fails only where the last client has left in the meantime.
    let _ = batches.send(message("batch", &batch));
    0
}

/// Returns a server-sent event.
fn message(event: &str, data: &impl Serialize) -> Bytes {
    let json =
        serde_json::to_string(data).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
    format!("event: {event}\ndata: {json}\n\n").into()
}

/// Returns the wall-clock time in milliseconds since 1970.
fn time() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Handles a request for the feed.
pub(super) async fn stream(Shared(state): Shared<State>) -> Response {
    let Some((snapshot, batches)) = state.live.watch().await else { return draining() };
    let events = futures::stream::iter([snapshot]).chain(batches_of(state.live, batches));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies such as nginx would collect the events otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response()
}

/// Returns the batches for one client; after those that it missed, `resync` and a new snapshot.
fn batches_of(feed: LiveFeed, batches: broadcast::Receiver<Bytes>) -> impl Stream<Item = Bytes> {
    futures::stream::unfold((feed, batches), async |(feed, mut batches)| match batches.recv().await {
        Ok(batch) => Some((batch, (feed, batches))),
        Err(RecvError::Lagged(missed)) => {
            let (snapshot, batches) = feed.watch().await?;
            let resync = message("resync", &serde_json::json!({ "missed": missed }));
            Some(([resync, snapshot].concat().into(), (feed, batches)))
        }
        Err(RecvError::Closed) => None,
    })
}

/// Handles a request for one call that is on the board.
pub(super) async fn call(Shared(state): Shared<State>, Path(call_id): Path<String>) -> Response {
    let (reply, replied) = oneshot::channel();
    let text = format!("call_id: {call_id:?}: no such call is open, or ended a moment ago\n");
    if state.live.0.send(Request::Call(call_id, reply)).await.is_err() {
        return draining();
    }
    match replied.await {
        Ok(Some(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, text).into_response(),
        Err(_) => draining(),
    }
}

fn draining() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::Alert;

    fn text(message: Bytes) -> String {
        String::from_utf8(message.to_vec()).unwrap()
    }

    async fn raise(tap: &LiveTap, number: usize) {
        let (alert_id, state) = (number.to_string(), "raised".to_owned());
        tap.alert(&Arc::default(), &Alert { alert_id, state, ..Alert::default() });
        // Between two ticks at least.
        tokio::time::sleep(2 * PERIOD).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_gets_a_snapshot_and_batches_and_after_a_pause_resync_with_a_new_snapshot() {
        let tap = LiveTap::default();
        let feed = LiveFeed::start(&tap, &Options::default());
        let (snapshot, batches) = feed.watch().await.unwrap();
        assert!(text(snapshot).starts_with("event: snapshot\ndata: {\"version\":"));
        let mut messages = std::pin::pin!(batches_of(feed, batches));
        raise(&tap, 0).await;
        let first = text(messages.next().await.unwrap());
        assert!(first.starts_with("event: batch\n") && first.contains("\"alert_id\":\"0\""), "{first}");
        // Two alerts may share a batch.
        for number in 1..2 * ROOM + 4 {
            raise(&tap, number).await;
        }
        let after = text(messages.next().await.unwrap());
        assert!(after.starts_with("event: resync\ndata: {\"missed\":"), "{after}");
        assert!(after.contains("\n\nevent: snapshot\n"), "{after}");
        raise(&tap, 99).await;
        assert!(text(messages.next().await.unwrap()).contains("\"alert_id\":\"99\""));
        drop(tap);
        assert_eq!(messages.next().await, None, "the feed ends with the tap");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_feed_sends_an_empty_batch_now_and_then() {
        let tap = LiveTap::default();
        let feed = LiveFeed::start(&tap, &Options::default());
        let (_, mut batches) = feed.watch().await.unwrap();
        let began = tokio::time::Instant::now();
        let batch = text(batches.recv().await.unwrap());
        assert!(batch.contains("\"windows\":[]"), "{batch}");
        assert!((PERIOD..PERIOD * (QUIET + 2)).contains(&began.elapsed()), "{:?}", began.elapsed());
        drop(tap);
    }
}
