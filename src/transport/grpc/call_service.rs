//! The service `affectd.v1.CallService`: the summaries of ended calls.
//!
//! Input: requests. Output: summaries of the [`CallStore`]. Invariant: a watch ends with UNAVAILABLE when the daemon drains, so that it does not
//! keep the connection open.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::calls::CallStore;
use crate::proto::call_service_server::CallService;
use crate::proto::{
    CallSummary, GetCallRequest, ListCallsRequest, ListCallsResponse, WatchCallsRequest, WatchCallsResponse,
};

/// Summaries in a response where the request names no number.
const PAGE: usize = 100;
/// The most summaries in a response.
const LARGEST_PAGE: usize = 1_000;

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

type Watched = Pin<Box<dyn Stream<Item = Result<WatchCallsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl CallService for Calls {
    type WatchCallsStream = Watched;

    async fn get_call(&self, request: Request<GetCallRequest>) -> Result<Response<CallSummary>, Status> {
        let call_id = request.into_inner().call_id;
        let summary = self.store.get(&call_id).ok_or_else(|| {
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
        let size = if page_size == 0 { PAGE } else { (page_size as usize).min(LARGEST_PAGE) };
        let before = match page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                Status::invalid_argument(format!("page_token: {token:?}: not one of a response"))
            })?),
        };
        let page = self.store.page(size, before);
        Ok(Response::new(ListCallsResponse {
            calls: page.calls.into_iter().map(Arc::unwrap_or_clone).collect(),
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
        }))
    }

    async fn watch_calls(&self, _: Request<WatchCallsRequest>) -> Result<Response<Watched>, Status> {
        let watch = Watch { ended: self.store.watch(), draining: self.draining.clone() };
        Ok(Response::new(Box::pin(futures::stream::unfold(Some(watch), next))))
    }
}

struct Watch {
    ended: broadcast::Receiver<Arc<CallSummary>>,
    draining: CancellationToken,
}

async fn next(watch: Option<Watch>) -> Option<(Result<WatchCallsResponse, Status>, Option<Watch>)> {
    let mut watch = watch?;
    let mut missed = 0;
    loop {
        let summary = tokio::select! {
            summary = watch.ended.recv() => summary,
            () = watch.draining.cancelled() => {
                return Some((Err(Status::unavailable("affectd is shutting down")), None));
            }
        };
        match summary {
            Ok(call) => {
                let call = Some(Arc::unwrap_or_clone(call));
                return Some((Ok(WatchCallsResponse { call, missed }), Some(watch)));
            }
            Err(RecvError::Lagged(count)) => missed += count,
            Err(RecvError::Closed) => return None,
        }
    }
}
