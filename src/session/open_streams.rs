//! The ids of the streams that are open in sessions: one session for each id of a principal, and no more streams than the limit.
//!
//! Input: the principal and the id of a stream that opens. Output: a guard that keeps the id until it is dropped, or a refusal. Invariant: the lock is held for one
//! operation on the set, never across an await.
//!
//! The set is the only state that sessions of all transports share, and the one lock of the daemon's input: a task that owned it would add two
//! channel hops to the opening of every stream.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Refusal;

/// A principal and the id of one of its streams.
type StreamName = (Arc<str>, Arc<str>);

/// The ids of all open streams. Clones share the set.
#[derive(Debug, Clone)]
pub struct OpenStreams {
    ids: Arc<Mutex<HashSet<StreamName>>>,
    limit: usize,
}

/// Keeps the id of an open stream from being opened again until it is dropped.
#[derive(Debug)]
pub struct OpenStreamGuard {
    streams: OpenStreams,
    name: StreamName,
}

impl OpenStreams {
    /// Returns an empty set that holds at most `limit` streams (`limits.max_streams`).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { ids: Arc::default(), limit }
    }

    /// Checks whether one more stream may open now.
    ///
    /// # Errors
    /// Returns [`Refusal::StreamLimit`].
    pub fn check_room(&self) -> Result<(), Refusal> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < self.limit { Ok(()) } else { Err(Refusal::StreamLimit(self.limit)) }
    }

    /// Reserves `stream_id` for the principal `owner`. Other principals may have a stream of the same id.
    ///
    /// # Errors
    /// Returns [`Refusal::AlreadyOpen`] or [`Refusal::StreamLimit`].
    pub fn open(&self, owner: &Arc<str>, stream_id: &Arc<str>) -> Result<OpenStreamGuard, Refusal> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (owner.clone(), stream_id.clone());
        if ids.contains(&name) {
            return Err(Refusal::AlreadyOpen(stream_id.to_string()));
        }
        if ids.len() >= self.limit {
            return Err(Refusal::StreamLimit(self.limit));
        }
        ids.insert(name.clone());
        Ok(OpenStreamGuard { streams: self.clone(), name })
    }
}

impl Drop for OpenStreamGuard {
    fn drop(&mut self) {
        self.streams.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_opens_once_and_again_after_its_guard_is_dropped() {
        let (streams, owner, other) = (OpenStreams::new(2), "".into(), "other".into());
        let guard = streams.open(&owner, &"a".into()).unwrap();
        assert!(matches!(streams.open(&owner, &"a".into()), Err(Refusal::AlreadyOpen(id)) if id == "a"));
        let _same_id = streams.open(&other, &"a".into()).unwrap();
        assert!(matches!(streams.open(&owner, &"b".into()), Err(Refusal::StreamLimit(2))));
        drop(guard);
        streams.open(&owner, &"b".into()).unwrap();
    }
}
