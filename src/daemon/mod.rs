//! The composition root: every stage and every channel between them.
//!
//! Input: a valid configuration, bound ports, and the requests to reload models and to stop. Output: a running daemon, which ends in a drain. Nothing is
//! computed here: `Daemon::start` reads like the picture in `lib.rs`, and `stages` has one function for each stage.

mod drain;
mod error;
mod notices;
mod prepare;
mod stages;
mod task;

use std::future::Future;
use std::pin::Pin;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub use error::DaemonError;
use stages::{Inputs, Sinks};
use task::Task;

use crate::calls::CallStore;
use crate::config::Config;
use crate::kafka::KafkaFault;
use crate::kafka::producer::EventProducer;
use crate::publish::live::LiveTap;
use crate::publish::tap::EventTap;
use crate::security::{Gate, ServerTls};
use crate::serving::Reloader;
use crate::shard::{self, ReportSender, ShardThreads};
use crate::transport::http::SessionSlot;
use crate::transport::ingest::AnnouncedCalls;

/// Reports that may wait for the Kafka reader.
const REPORTS: usize = 4096;
/// Batches of results that may wait for the publisher.
const RESULTS: usize = 16;

/// Bound ports.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For HTTP.
    pub http: TcpListener,
    /// For AudioSocket; `None` where it is off.
    pub audiosocket: Option<TcpListener>,
}

/// Runs the daemon until `shutdown` completes or a stage fails, then drains it.
///
/// Dropping the future cancels every stage. What Kafka has not settled is read again by the next reader.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let (_never, reload) = mpsc::channel(1);
    run_with_reload(config, listeners, reload, shutdown).await
}

/// Runs the daemon as [`run`] does, and loads the models again on each message of `reload`.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run_with_reload(
    config: Config,
    listeners: Listeners,
    reload: mpsc::Receiver<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    tokio::pin!(shutdown);
    let started = Daemon::start(config, listeners, reload, shutdown.as_mut()).await?;
    let Some(mut daemon) = started else {
        tracing::info!("stopped before it was ready");
        return Ok(());
    };
    let failed = tokio::select! {
        () = &mut shutdown => None,
        error = daemon.failure() => Some(error),
    };
    if failed.is_some() {
        daemon.shorten_drain();
    }
    let drained = daemon.drain().await;
    failed.map_or(drained, Err)
}

/// The running stages, in data order.
struct Daemon {
    config: Config,
    http: Task<Result<(), std::io::Error>>,
    audiosocket: Option<Task<Result<(), std::io::Error>>>,
    http_sessions: SessionSlot,
    grpc: Task<Result<(), tonic::transport::Error>>,
    reader: Option<Task<Result<(), KafkaFault>>>,
    /// `None` once the drain has released the shards.
    inputs: Option<Inputs>,
    shards: Option<ShardThreads>,
    reloader: Task<Reloader>,
    publisher: Task<()>,
    sinks: Sinks,
    producer: Option<EventProducer>,
}

impl Daemon {
    /// Starts all stages. Returns `None` where `shutdown` completed while it waited for Kafka.
    ///
    /// A stage is created before the stages that send to it, so the order is that of the data, backwards: sinks, publisher, batchers, shards, inputs. HTTP
    /// comes first, so that a start that waits can be observed. The models are loaded before Kafka is used, and are never dropped half-way: a process
    /// that ends while ONNX Runtime works may crash.
    async fn start(
        config: Config,
        listeners: Listeners,
        reload: mpsc::Receiver<()>,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Self>, DaemonError> {
        let readiness = stages::readiness(&config);
        notices::of_telephony(&config);
        let tls = ServerTls::start(&config.tls)?;
        let (http_sessions, calls) = (SessionSlot::default(), CallStore::new(&config.calls));
        let live = LiveTap::default();
        let http_tls = tls.clone().filter(|_| config.http.tls);
        let gate = Gate::start(&config.auth, config.limits.of_principals())?;
        let of_requests = (&config, &readiness, &gate);
        let announced = listeners.audiosocket.as_ref().map(|_| AnnouncedCalls::default());
        let of_calls = (&http_sessions, &calls, &live, &announced);
        let http = stages::http(listeners.http, http_tls, of_requests, of_calls);
        // Results: from the batcher of each model to the publisher. Reports: from the shards and the producer to the Kafka reader.
        let (results, scored) = mpsc::channel(RESULTS);
        let (report, reports) = crossbeam_channel::bounded(REPORTS);
        let reports_to = ReportSender { reports: report };

        let reloader = Reloader::start(&config.reloader(), results).await?;
        readiness.met("model");
        let models = reloader.registries();
        notices::of_labels(&config.calls, &models.borrow());
        let topics = match prepare::topics(&config, &readiness, shutdown).await {
            Ok(Some(topics)) => topics,
            stopped => {
                reloader.join().await;
                return stopped.map(|_| None);
            }
        };
        let producer = stages::producer(&config, topics.batch_limit, &reports_to)?;
        let (transactions, to_commit) = stages::transactions(&config);
        let sinks = stages::sinks(&config, producer.as_ref(), transactions);
        let tap = EventTap::default();
        let publisher = stages::publisher(&config, &sinks, (tap.clone(), live, &calls), scored);
        let reloader = Task::spawn(|stop| reloader.run(reload, stop));
        let (count, queue) = (config.limits.shard_count(), config.limits.shard_queue);
        let decoders = stages::decoders(&config)?;
        let (shards, threads) = shard::start(count, queue, &reports_to, &sinks.streams, &decoders)?;
        let inputs = stages::inputs(&config, (shards, decoders), models, readiness, tap);
        let reader = stages::reader(&config, &inputs, producer.as_ref(), (reports, to_commit))?;
        let grpc = stages::grpc(listeners.grpc, (tls, gate), &config, (inputs.clone(), calls));
        stages::open_http(&http_sessions, &inputs);
        let sockets = listeners.audiosocket.zip(announced);
        let audiosocket = sockets.map(|sockets| stages::audiosocket(sockets, &config, &http_sessions));

        let (inputs, shards) = (Some(inputs), Some(threads));
        Ok(Some(Self {
            config,
            http,
            audiosocket,
            http_sessions,
            grpc,
            reader,
            inputs,
            shards,
            reloader,
            publisher,
            sinks,
            producer,
        }))
    }

    /// Waits until a stage fails or ends by itself.
    async fn failure(&mut self) -> DaemonError {
        let reader = async {
            match &mut self.reader {
                Some(reader) => reader.ended("Kafka reader").await,
                None => std::future::pending().await,
            }
        };
        let audiosocket = async {
            match &mut self.audiosocket {
                Some(server) => server.ended("AudioSocket server").await,
                None => std::future::pending().await,
            }
        };
        let shards = async {
            match &self.shards {
                Some(threads) => threads.any_ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = self.http.ended("HTTP server") => error,
            error = self.grpc.ended("gRPC server") => error,
            error = reader => error,
            error = audiosocket => error,
            () = shards => DaemonError::Stage("shards"),
            () = self.reloader.stopped() => DaemonError::Stage("model reloader"),
            () = self.publisher.stopped() => DaemonError::Stage("publisher"),
            error = self.sinks.failed() => error,
        }
    }
}
