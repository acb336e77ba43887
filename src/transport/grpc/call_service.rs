//! The service `affectd.v1.CallService`: the summaries of ended calls, and alerts.
//!
//! Input: requests. Output: summaries and alerts of the [`CallStore`]. Invariant: a watch ends with UNAVAILABLE when the daemon drains, so that it does not
//! keep the connection open.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::authorize::principal_of;
use crate::calls::{CallStore, page_size as size_of_page};
use crate::proto::call_service_server::CallService;
use crate::proto::{
    Alert, CallSummary, GetCallRequest, ListCallsRequest, ListCallsResponse, WatchAlertsRequest,
    WatchAlertsResponse, WatchCallsRequest, WatchCallsResponse,
};

/// The service of calls.
#[derive(Debug)]
pub struct Calls {
    store: CallStore,
    draining: CancellationToken,
}

impl Calls {
    /// Returns the service on `store`. `draining` is cancelled when the daemon drains.
    #[must_use]
    pub fn new(store: CallStore, draining: CancellationToken) -> Self {
        Self { store, draining }
    }
}

type Watched<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CallService for Calls {
    type WatchCallsStream = Watched<WatchCallsResponse>;
    type WatchAlertsStream = Watched<WatchAlertsResponse>;

    async fn get_call(&self, request: Request<GetCallRequest>) -> Result<Response<CallSummary>, Status> {
        let reader = principal_of(&request).name;
        let call_id = request.into_inner().call_id;
        let summary = self.store.get(&call_id, &reader).ok_or_else(|| {
            Status::not_found(format!(
                "call_id: {call_id:?}: no summary; the call has not ended or is no longer held"
            ))
        })?;
        Ok(Response::new(Arc::unwrap_or_clone(summary)))
    }

    async fn list_calls(
        &self,
        request: Request<ListCallsRequest>,
    ) -> Result<Response<ListCallsResponse>, Status> {
        let ListCallsRequest { page_size, page_token } = request.into_inner();
        let before = match page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                Status::invalid_argument(format!("page_token: {token:?}: not one of a response"))
            })?),
        };
        let page = self.store.page(size_of_page(page_size), before);
        Ok(Response::new(ListCallsResponse {
            calls: page.calls.into_iter().map(Arc::unwrap_or_clone).collect(),
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
        }))
    }

    async fn watch_calls(
        &self,
        _: Request<WatchCallsRequest>,
    ) -> Result<Response<Self::WatchCallsStream>, Status> {
        let watch = Watch { changes: self.store.watch(), draining: self.draining.clone() };
        Ok(Response::new(watched(watch, |call: Arc<CallSummary>, missed| WatchCallsResponse {
            call: Some(Arc::unwrap_or_clone(call)),
            missed,
        })))
    }

    async fn watch_alerts(
        &self,
        _: Request<WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let watch = Watch { changes: self.store.alerts().watch(), draining: self.draining.clone() };
        Ok(Response::new(watched(watch, |alert: Arc<Alert>, missed| WatchAlertsResponse {
            alert: Some(Arc::unwrap_or_clone(alert)),
            missed,
        })))
    }
}

struct Watch<T> {
    changes: broadcast::Receiver<Arc<T>>,
    draining: CancellationToken,
}

/// Returns the responses of a watch, each made of what has changed and of the number of changes that were missed before it.
fn watched<T, R>(watch: Watch<T>, response: impl Fn(Arc<T>, u64) -> R + Copy + Send + 'static) -> Watched<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let next = move |watch: Option<Watch<T>>| async move {
        let mut watch = watch?;
        match watch.next().await? {
            Ok((changed, missed)) => Some((Ok(response(changed, missed)), Some(watch))),
            Err(status) => Some((Err(status), None)),
        }
    };
    Box::pin(futures::stream::unfold(Some(watch), next))
}

impl<T: Send + Sync + 'static> Watch<T> {
    async fn next(&mut self) -> Option<Result<(Arc<T>, u64), Status>> {
        let mut missed = 0;
        loop {
            let changed = tokio::select! {
                changed = self.changes.recv() => changed,
                () = self.draining.cancelled() => {
                    return Some(Err(Status::unavailable("affectd is shutting down")));
                }
            };
            match changed {
                Ok(changed) => return Some(Ok((changed, missed))),
                Err(RecvError::Lagged(count)) => missed += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
