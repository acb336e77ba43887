//! The load generator: many concurrent streams for a given time.
//!
//! Input: a [`LoadPlan`] and a [`LoadTarget`]. Output: a [`LoadReport`] with throughput, latency and resource use.
//! Invariants: each stream is one task and all streams share the encoded audio, so that the generator costs little beside
//! the daemon that it measures.
//!
//! In data order: `speech` (endless audio) → `schedule` (due times) → `source` (chunks of one stream and their send times)
//! → `grpc` or `kafka` (transport) → `report`.

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

use crate::client::{Channel, ClientError, Pace};
use crate::telemetry::{ProcessError, ProcessUse, process_cpu};
use report::ResourceUse;
use schedule::Schedule;
use source::StreamSource;

/// The time without an event, after the end of its audio, after which a stream counts as failed.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The number of concurrent streams, at least one.
    pub streams: usize,
    /// The speed of each stream.
    pub pace: Pace,
    /// The wall-clock time that each stream sends for.
    pub duration: Duration,
    /// The audio over which the starts of the streams are spread. A hop of the model spreads the windows of all streams evenly; where most streams are refused,
    /// several hops spread those of the accepted ones, which are the first.
    pub ramp: Duration,
    /// The audio of the streams.
    pub speech: Arc<Speech>,
    /// The process id of the daemon, where its CPU time and memory are to be reported.
    pub target_pid: Option<u32>,
}

/// The open connections to the system under load.
#[derive(Debug)]
pub enum LoadTarget {
    /// Connections to a daemon's gRPC port, at least one.
    Grpc(Vec<Channel>),
    /// The input and output topics of a daemon.
    Kafka(Topics),
}

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The CPU time and memory of the target process cannot be read.
    #[error("watch the target: {0}")]
    Process(#[from] ProcessError),
    /// The brokers are unreachable, or a topic is missing.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a stream failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The daemon refused the stream or ended it with an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No event arrived after the end of the audio.
    #[error("no event and no end of stream within {RESPONSE_TIMEOUT:?} after its audio")]
    NoResponse,
}

impl StreamError {
    fn status(status: tonic::Status) -> Self {
        Self::Client(ClientError::Refused(Box::new(status)))
    }

    /// Returns whether the daemon refused the stream because of its stream limit, which does not count as a failure.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Client(ClientError::Refused(status)) if status.code() == Code::ResourceExhausted)
    }
}

/// Runs the load until all streams end; `windows` counts the events as they arrive. Cancelling the future cancels all
/// streams.
///
/// # Errors
/// See [`LoadError`]. A failed stream is part of the report.
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
    // Where the daemon has ended in the meantime, its streams have failed; the report is still returned, without the
    // daemon's resource use.
    let target = target_before.zip(used_by_target().ok().flatten());
    Ok(LoadReport::new(outcomes, ResourceUse { elapsed, load_cpu, target }))
}

/// Creates the streams of one run. Their ids contain a random part, so that they differ from those of any other run.
fn sources(plan: &LoadPlan, start: Instant) -> Vec<Arc<StreamSource>> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let source = |number| {
        let all = Schedule { start, pace: plan.pace, duration: plan.duration };
        let schedule = all.of_stream(plan.ramp, number as f64 / plan.streams as f64);
        let stream_id = format!("load-{}-{number}", &run[..8]);
        Arc::new(StreamSource::new(stream_id, number, schedule, Arc::clone(&plan.speech)))
    };
    (0..plan.streams).map(source).collect()
}
