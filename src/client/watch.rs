//! A client of the event service: the events that a daemon publishes, live.
//!
//! Input: a connection and a filter. Output: events, and the number of events that were missed before each. Invariants: nothing is printed here.

use tonic::Streaming;

use super::{Channel, ClientError};
use crate::proto::event_service_client::EventServiceClient;
use crate::proto::{EmotionEvent, WatchEventsRequest, WatchEventsResponse};

/// A call of the event service. Dropping it ends the call.
pub struct WatchedEvents(Streaming<WatchEventsResponse>);

impl WatchedEvents {
    /// Starts to watch the events that pass the filter.
    ///
    /// # Errors
    /// Returns [`ClientError::Refused`] where the server refuses the call.
    pub async fn open(channel: Channel, filter: WatchEventsRequest) -> Result<Self, ClientError> {
        let refused = |status| ClientError::Refused(Box::new(status));
        let response = EventServiceClient::new(channel).watch_events(filter).await.map_err(refused)?;
        Ok(Self(response.into_inner()))
    }

    /// Waits for the next event; `None` after the daemon has drained. Events that the daemon dropped, because this client reads too slowly, are counted
    /// in the log. Cancel safe: no event is lost.
    ///
    /// # Errors
    /// Returns [`ClientError::Refused`] where the call ends with an error.
    pub async fn next(&mut self) -> Result<Option<EmotionEvent>, ClientError> {
        loop {
            let message = self.0.message().await.map_err(|status| ClientError::Refused(Box::new(status)))?;
            let Some(WatchEventsResponse { event, missed }) = message else { return Ok(None) };
            if missed > 0 {
                tracing::warn!(missed, "events were dropped, because they are read too slowly");
            }
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}
