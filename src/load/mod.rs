//! The load generator: many streams side by side for so many seconds, and what came back.
//!
//! In data order: `speech` (audio that never ends) → `schedule` (when it is due) → `source` (one stream's chunks and
//! their times) → `grpc` or `kafka` (out and back) → `report`. In: a [`LoadPlan`] and a target. Out: a [`LoadReport`].
//! One task a stream, its audio shared: the generator must cost little beside the daemon that it measures.

mod grpc;
mod kafka;
mod report;
mod schedule;
mod source;
mod speech;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

pub use grpc::connect;
pub use kafka::Topics;
pub use report::{LoadReport, Milliseconds};
pub use speech::Speech;

use crate::client::{ClientError, Pace};
use crate::measure::{ProcessError, ProcessUse, process_cpu};
use report::ResourceUse;
use schedule::Schedule;
use source::StreamSource;

/// How long a stream whose audio is over may go without an event before it counts as failed.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Streams side by side, at least one.
    pub streams: usize,
    /// How fast each one goes.
    pub pace: Pace,
    /// Wall time that each one is on for.
    pub duration: Duration,
    /// What they say.
    pub speech: Arc<Speech>,
    /// The daemon's process, where its use of the machine is to be told.
    pub target_pid: Option<u32>,
}

/// Where the streams go, connected already.
#[derive(Debug)]
pub enum LoadTarget {
    /// Connections to a daemon's gRPC port, at least one.
    Grpc(Vec<tonic::transport::Channel>),
    /// The input and output topics of a daemon.
    Kafka(Topics),
}

/// What keeps a run from its report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target process cannot be watched.
    #[error("watch the target: {0}")]
    Process(#[from] ProcessError),
    /// The brokers do not answer, or a topic is missing.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a stream has no good end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The other side refused it or gave it up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its audio is over and nothing comes back.
    #[error("no event and no end for {RESPONSE_TIMEOUT:?} after its audio")]
    NoResponse,
}

impl StreamError {
    fn status(status: tonic::Status) -> Self {
        Self::Client(ClientError::Refused(Box::new(status)))
    }

    /// Whether the daemon had no room for the stream: that is its right, and no failure.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Client(ClientError::Refused(status)) if status.code() == Code::ResourceExhausted)
    }
}

/// Runs the load to its end; `windows` counts events as they come. Cancelling it cancels all streams.
///
/// # Errors
/// See [`LoadError`]; a stream that fails is part of the report.
pub async fn run(
    plan: &LoadPlan,
    target: LoadTarget,
    windows: Arc<AtomicU64>,
) -> Result<LoadReport, LoadError> {
    let used_by_target = || plan.target_pid.map(ProcessUse::of).transpose();
    let (target_before, load_before, start) = (used_by_target()?, process_cpu(), Instant::now());
    let sources = sources(plan, start);
    let (outcomes, last) = match target {
        LoadTarget::Grpc(connections) => (grpc::run(sources, &connections, &windows).await, Instant::now()),
        LoadTarget::Kafka(topics) => kafka::run(sources, topics, &windows).await?,
    };
    let elapsed = last.saturating_duration_since(start);
    let load_cpu = process_cpu().saturating_sub(load_before);
    // A daemon that has ended by now fails the streams; what they found is told all the same.
    let target = target_before.zip(used_by_target().ok().flatten());
    Ok(LoadReport::new(outcomes, ResourceUse { elapsed, load_cpu, target }))
}

/// The streams of one run; their names are those of no other run.
fn sources(plan: &LoadPlan, start: Instant) -> Vec<Arc<StreamSource>> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let source = |number| {
        let schedule = Schedule::of_stream(start, plan.pace, plan.duration, (number, plan.streams));
        let stream_id = format!("load-{}-{number}", &run[..8]);
        Arc::new(StreamSource::new(stream_id, number, schedule, Arc::clone(&plan.speech)))
    };
    (0..plan.streams).map(source).collect()
}
