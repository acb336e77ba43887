//! Which streams are open over gRPC: one call for each id, and no more than the limit.
//!
//! In: an id. Out: a place that frees itself when it is dropped, or why there is none. The one lock of the daemon; held for a set
//! operation, never across an await.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Status;

use crate::telemetry::metrics;

/// Why a stream may not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// Another call has it.
    #[error("stream_id {0:?} is already open in another call")]
    AlreadyOpen(String),
    /// The model could not keep up with one more.
    #[error(
        "one more stream would take over {0} % of the model's time, the most that is allowed \
         (limits.max_utilization_percent)"
    )]
    Busy(usize),
    /// The limit is reached.
    #[error("{0} streams are open already, the most that are allowed (limits.max_streams)")]
    Full(usize),
}

impl OpenRefused {
    /// What the call hears; counted.
    #[must_use]
    pub fn refusal(&self) -> Status {
        metrics::rejected(metrics::Source::GRPC, self.reason());
        match self {
            Self::AlreadyOpen(_) => Status::already_exists(self.to_string()),
            Self::Full(_) | Self::Busy(_) => Status::resource_exhausted(self.to_string()),
        }
    }

    /// The metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::AlreadyOpen(_) => "already_open",
            Self::Busy(_) => "busy",
            Self::Full(_) => "stream_limit",
        }
    }
}

/// The streams that are open.
#[derive(Debug, Clone)]
pub struct OpenStreams {
    ids: Arc<Mutex<HashSet<String>>>,
    limit: usize,
}

/// A stream's place; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    streams: OpenStreams,
    stream_id: String,
}

impl OpenStreams {
    /// Room for `limit` streams.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { ids: Arc::default(), limit }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// See `OpenRefused`.
    pub fn open(&self, stream_id: &str) -> Result<Place, OpenRefused> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.contains(stream_id) {
            return Err(OpenRefused::AlreadyOpen(stream_id.to_owned()));
        }
        if ids.len() >= self.limit {
            return Err(OpenRefused::Full(self.limit));
        }
        ids.insert(stream_id.to_owned());
        Ok(Place { streams: self.clone(), stream_id: stream_id.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.stream_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_calls_and_free_again_when_dropped() {
        let streams = OpenStreams::new(1);
        let place = streams.open("a").unwrap();
        assert_eq!(streams.open("a").unwrap_err(), OpenRefused::AlreadyOpen("a".into()));
        assert_eq!(streams.open("b").unwrap_err(), OpenRefused::Full(1));
        drop(place);
        streams.open("b").unwrap();
    }
}
