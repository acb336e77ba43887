//! The service `affectd.v1.RecognitionService`: lets calls in, and turns their replies into responses.
//!
//! In: calls. Out: events as they are published, then OK, a refusal, or UNAVAILABLE while draining. Never reads audio itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::call::Call;
use crate::config;
use crate::proto::recognition_service_server::RecognitionService;
use crate::proto::{RecognizeRequest, RecognizeResponse};
use crate::serving::CallReply;
use crate::serving::RegistryReceiver;
use crate::session::OpenStreams;
use crate::session::credits_of_a_call;
use crate::shard::Shards;

/// What calls are connected to.
#[derive(Debug, Clone)]
pub struct RecognitionLinks {
    /// Chunks go here.
    pub shards: Shards,
    /// Models to choose from.
    pub registries: RegistryReceiver,
    /// Limits, and how long a stream may be silent before its stretch ends.
    pub audio: config::Audio,
    /// What share of the models' time open streams may take, in percent.
    pub max_utilization_percent: usize,
    /// Which streams are open.
    pub streams: OpenStreams,
    /// Cancelled when the daemon drains.
    pub draining: CancellationToken,
    /// The tasks of all calls.
    pub calls: TaskTracker,
}

/// The service.
#[derive(Debug)]
pub struct Recognition {
    links: Arc<RecognitionLinks>,
    numbers: AtomicU64,
}

impl Recognition {
    /// A service on these links.
    #[must_use]
    pub fn new(links: RecognitionLinks) -> Self {
        Self { links: Arc::new(links), numbers: AtomicU64::new(0) }
    }
}

/// What every call hears while the daemon drains.
pub fn draining() -> Status {
    Status::unavailable(
        "affectd is shutting down: connect again, with first_sample to go on where the events end",
    )
}

#[tonic::async_trait]
impl RecognitionService for Recognition {
    type RecognizeStream = Pin<Box<dyn Stream<Item = Result<RecognizeResponse, Status>> + Send>>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let links = self.links.clone();
        if links.draining.is_cancelled() {
            return Err(draining());
        }
        let registry = links.registries.borrow().clone();
        let (replies, inbox) = mpsc::channel(credits_of_a_call(&registry) + 8);
        let (end, ended) = oneshot::channel();
        let call = Call::new(self.numbers.fetch_add(1, Ordering::Relaxed), links, registry, replies, end);
        self.links.calls.spawn(call.run(request.into_inner()));
        Ok(Response::new(Box::pin(responses(inbox, ended))))
    }
}

/// Events until the call is over, then the status that it ends with. Taking an event releases its room to the call.
fn responses(
    inbox: mpsc::Receiver<CallReply>,
    ended: oneshot::Receiver<Status>,
) -> impl Stream<Item = Result<RecognizeResponse, Status>> + Send {
    futures::stream::unfold(Some((inbox, Some(ended))), |state| async {
        let (mut inbox, mut ended) = state?;
        let reply = tokio::select! {
            biased;
            reply = inbox.recv() => reply,
            status = status(&mut ended) => return Some((Err(status), None)),
        };
        match reply {
            Some(CallReply::Event(event, credit)) => {
                drop(credit);
                let response = RecognizeResponse { event: Some(Arc::unwrap_or_clone(event)) };
                Some((Ok(response), Some((inbox, ended))))
            }
            Some(CallReply::Failed { index, source }) => {
                Some((Err(Status::internal(format!("window {index}: {source}"))), None))
            }
            None => ended.and_then(|mut ended| ended.try_recv().ok()).map(|status| (Err(status), None)),
        }
    })
}

/// The status that a call ends with. It is sent once every event has been taken; a call without one ends when its replies do.
async fn status(ended: &mut Option<oneshot::Receiver<Status>>) -> Status {
    if let Some(receiver) = ended {
        let received = receiver.await;
        // A receiver must not be polled again once it is done.
        *ended = None;
        if let Ok(status) = received {
            return status;
        }
    }
    std::future::pending().await
}
