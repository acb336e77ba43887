//! The tap: a copy of every published event for observers, which may miss events and delay nothing.
//!
//! Input: events of the publisher. Output: the same events to each observer, in order. Invariants: the publisher never waits; an observer that is too slow
//! misses the oldest events and receives their number.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::proto::{EmotionEvent, WatchEventsRequest};

/// Events that an observer may be behind before it misses some.
const ROOM: usize = 4096;

/// The publishing side. Clones are the same tap.
#[derive(Debug, Clone)]
pub struct EventTap {
    events: broadcast::Sender<Arc<EmotionEvent>>,
    closed: CancellationToken,
}

impl Default for EventTap {
    fn default() -> Self {
        Self { events: broadcast::Sender::new(ROOM), closed: CancellationToken::new() }
    }
}

impl EventTap {
    /// Copies an event to every observer. Without observers this costs one load.
    pub fn publish(&self, event: &Arc<EmotionEvent>) {
        if self.events.receiver_count() > 0 {
            // Fails only where the last observer has left in the meantime.
            let _ = self.events.send(event.clone());
        }
    }

    /// Returns an observer of the events that are published from now on.
    #[must_use]
    pub fn observe(&self) -> EventObserver {
        EventObserver { events: self.events.subscribe(), closed: self.closed.clone() }
    }

    /// Ends every observer after the events that have been published.
    pub fn close(&self) {
        self.closed.cancel();
    }
}

/// One observer.
#[derive(Debug)]
pub struct EventObserver {
    events: broadcast::Receiver<Arc<EmotionEvent>>,
    closed: CancellationToken,
}

/// What an observer receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// An event.
    Event(Arc<EmotionEvent>),
    /// The number of events that were dropped because the observer was too slow.
    Missed(u64),
}

impl EventObserver {
    /// Waits for the next event; `None` after the last one of a closed tap. Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Observed> {
        let received = tokio::select! {
            biased;
            received = self.events.recv() => received,
            () = self.closed.cancelled() => self.events.try_recv().map_err(|error| match error {
                TryRecvError::Lagged(missed) => RecvError::Lagged(missed),
                TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
            }),
        };
        match received {
            Ok(event) => Some(Observed::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Observed::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Returns whether an event passes the filter of a request.
#[must_use]
pub fn passes(filter: &WatchEventsRequest, event: &EmotionEvent) -> bool {
    let WatchEventsRequest { stream_ids, attributes, emotions } = filter;
    (stream_ids.is_empty() || stream_ids.contains(&event.stream_id))
        && (emotions.is_empty() || emotions.contains(&event.emotion))
        && attributes.iter().all(|(name, value)| event.attributes.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stream_id: &str, emotion: &str, attributes: &[(&str, &str)]) -> Arc<EmotionEvent> {
        let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let (stream_id, emotion) = (stream_id.into(), emotion.into());
        Arc::new(EmotionEvent { stream_id, emotion, attributes, ..Default::default() })
    }

    #[tokio::test]
    async fn a_slow_observer_learns_how_many_events_it_missed_and_a_closed_tap_ends_after_the_last() {
        let tap = EventTap::default();
        tap.publish(&event("before", "anger", &[]));
        let mut observer = tap.observe();
        let count = ROOM + 3;
        (0..count).for_each(|index| tap.publish(&event(&index.to_string(), "anger", &[])));
        tap.close();
        assert_eq!(observer.next().await, Some(Observed::Missed(3)));
        for index in 3..count {
            assert_eq!(observer.next().await, Some(Observed::Event(event(&index.to_string(), "anger", &[]))));
        }
        assert_eq!(observer.next().await, None);
    }

    #[test]
    fn an_event_passes_where_every_field_that_is_set_allows_it() {
        let event = event("a", "anger", &[("team", "north"), ("line", "1")]);
        let filter =
            |stream_ids: &[&str], emotions: &[&str], attributes: &[(&str, &str)]| WatchEventsRequest {
                stream_ids: stream_ids.iter().map(|id| (*id).into()).collect(),
                emotions: emotions.iter().map(|emotion| (*emotion).into()).collect(),
                attributes: attributes
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()))
                    .collect(),
            };
        for allowing in [
            filter(&[], &[], &[]),
            filter(&["b", "a"], &["anger", "fear"], &[("team", "north")]),
            filter(&[], &[], &[("team", "north"), ("line", "1")]),
        ] {
            assert!(passes(&allowing, &event), "{allowing:?}");
        }
        for refusing in [
            filter(&["b"], &[], &[]),
            filter(&["a"], &["fear"], &[]),
            filter(&[], &[], &[("team", "south")]),
            filter(&[], &[], &[("other", "")]),
        ] {
            assert!(!passes(&refusing, &event), "{refusing:?}");
        }
    }
}
