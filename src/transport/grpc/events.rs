//! The service `affectd.v1.EventService`: published events of all sources, live.
//!
//! Input: calls with a filter. Output: for each call the events that pass, until the daemon has drained. Invariants: a call delays no stream; the number of
//! calls is bounded.

use std::sync::Arc;

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::deadline::{Responses, until_deadline};
use super::status::exhausted;
use crate::proto::event_service_server::EventService;
use crate::proto::{WatchEventsRequest, WatchEventsResponse};
use crate::publish::tap::{EventObserver, EventTap, Observed, passes};

/// The most calls that observe events at the same time.
const MAX_CALLS: usize = 256;

/// The event service.
#[derive(Debug)]
pub struct Events {
    tap: EventTap,
    calls: Arc<Semaphore>,
}

impl Events {
    /// Returns a service over a tap.
    #[must_use]
    pub fn new(tap: EventTap) -> Self {
        Self { tap, calls: Arc::new(Semaphore::new(MAX_CALLS)) }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type WatchEventsStream = Responses<WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let permit = self.calls.clone().try_acquire_owned();
        let permit = permit.map_err(|_| exhausted(format!("{MAX_CALLS} calls observe events already")))?;
        let (metadata, _, filter) = request.into_parts();
        Ok(Response::new(until_deadline(&metadata, responses(self.tap.observe(), filter, permit))))
    }
}

/// Returns the responses of one call, which holds its permit until it ends.
fn responses(
    mut observer: EventObserver,
    filter: WatchEventsRequest,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<WatchEventsResponse, Status>> + Send {
    async_stream::stream! {
        let _permit = permit;
        let mut missed = 0;
        while let Some(observed) = observer.next().await {
            match observed {
                Observed::Missed(count) => missed += count,
                Observed::Event(event) if passes(&filter, &event) => {
                    let event = Some(Arc::unwrap_or_clone(event));
                    yield Ok(WatchEventsResponse { event, missed: std::mem::take(&mut missed) });
                }
                Observed::Event(_) => {}
            }
        }
    }
}
