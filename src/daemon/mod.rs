//! The composition root: every stage and every channel between them, in the order in which the data flows.
//!
//! In: a valid configuration, bound ports, the word to stop. Out: the daemon's whole life, ending in a drain. Computes nothing itself.

mod drain;
mod error;
mod prepare;
mod task;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::DaemonError;
use prepare::ensure_topics;
use task::Task;

use crate::config::{Config, Role};
use crate::evaluation::Evaluator;
use crate::kafka::event_sink::{EVENT_ROOM, EventSink, EventSinkFault, SHADOW_ROOM};
use crate::kafka::producer::EventProducer;
use crate::kafka::{KafkaFault, Reader, ReaderLinks};
use crate::publish::publisher::{PublishFault, Publisher};
use crate::serving::{EventSender, Reloader, StreamSinks};
use crate::session::{OpenStreams, SessionLinks};
use crate::shard::ReportSender;
use crate::shard::{self, ShardThreads, Shards};
use crate::telemetry::Readiness;
use crate::telemetry::metrics;
use crate::transport::grpc::Recognition;
use crate::transport::grpc::evaluation::Evaluation;
use crate::transport::grpc::server::{self, Services};
use crate::transport::http;

/// Reports that may wait for the Kafka reader.
const REPORTS: usize = 4096;
/// Scored batches that may wait for the publisher.
const SCORED: usize = 16;

/// Bound ports.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For HTTP.
    pub http: TcpListener,
}

/// Runs the daemon until `shutdown`, or until a stage fails; then drains.
///
/// Dropping the future stops everything at once: what Kafka has not settled is read again by the next reader.
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

/// As [`run`], and loads the models again whenever `reload` says so.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run_with_reload(
    config: Config,
    listeners: Listeners,
    reload: mpsc::Receiver<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let readiness =
        Readiness::starting(if config.kafka.is_some() { &["model", "kafka"] } else { &["model"] });
    tokio::pin!(shutdown);
    let started = Daemon::start(config, listeners, reload, readiness, shutdown.as_mut()).await?;
    let Some(mut daemon) = started else {
        tracing::info!("stopped before it was ready");
        return Ok(());
    };
    let failed = tokio::select! {
        () = &mut shutdown => None,
        error = daemon.failure() => Some(error),
    };
    let drained = daemon.drain().await;
    failed.map_or(drained, Err)
}

/// The running stages, in data order.
struct Daemon {
    config: Config,
    readiness: Readiness,
    draining: CancellationToken,
    calls: TaskTracker,
    reader: Option<Task<Result<(), KafkaFault>>>,
    grpc: Task<Result<(), tonic::transport::Error>>,
    shards: Option<(Shards, ShardThreads)>,
    reloader: Task<Reloader>,
    publisher: Task<Result<(), PublishFault>>,
    sinks: Vec<Task<Result<(), EventSinkFault>>>,
    producer: Option<EventProducer>,
    http_stop: CancellationToken,
    http: JoinHandle<std::io::Result<()>>,
}

impl Daemon {
    /// `None` where `shutdown` came while it waited for Kafka. Models are never dropped half-way: a process that ends while its engine
    /// is at work may crash.
    async fn start(
        config: Config,
        listeners: Listeners,
        reload: mpsc::Receiver<()>,
        readiness: Readiness,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Self>, DaemonError> {
        let handle = metrics::install();
        let http_stop = CancellationToken::new();
        // Where starting fails or is dropped, so does what was started.
        let unless_started = http_stop.clone().drop_guard();
        let state = http::State { metrics: handle, readiness: readiness.clone() };
        let http = tokio::spawn(http::serve(listeners.http, state, http_stop.clone().cancelled_owned()));

        // Scored batches of every model → publisher.
        let (scored, results) = mpsc::channel(SCORED);
        let reloader = Reloader::start(&config.reloader(), scored).await?;
        let registries = reloader.registries();
        let topics = tokio::select! {
            found = ensure_topics(&config) => Some(found),
            () = shutdown => None,
        };
        if !matches!(topics, Some(Ok(()))) {
            reloader.join().await;
            return topics.transpose().map(|_| None);
        }

        let (report, reports) = crossbeam_channel::bounded(REPORTS);
        let producer = config.kafka.as_ref().map(|kafka| EventProducer::new(kafka, report.clone()));
        let producer = producer.transpose()?;

        // Events → the task of each sink → Kafka's producer.
        let Sinks { streams: stream_sinks, shadow_topics, tasks: sinks } =
            kafka_sinks(&config, producer.as_ref());

        // Chunks → shards → jobs, each to its model's batcher → scored batches → publisher.
        let reports_to = ReportSender { reports: report };
        let (shards, shard_threads) =
            shard::start(config.limits.shard_count(), config.limits.shard_queue, &reports_to, &stream_sinks)?;
        drop((reports_to, stream_sinks));
        let links = producer.clone().map(|producer| ReaderLinks {
            shards: shards.clone(),
            registries: registries.clone(),
            reports,
            producer,
            readiness: readiness.clone(),
            idle_timeout: config.audio.idle_timeout,
            grace_period: config.limits.grace_period,
        });
        let reader = config.kafka.as_ref().zip(links);
        let reader = reader.map(|(kafka, links)| Reader::new(kafka, links)).transpose()?;
        let reloader = Task::spawn(|stop| reloader.run(reload, stop));
        let publisher = Publisher { options: config.publish.clone(), shadow_topics };
        let publisher = Task::spawn(|_| publisher.run(results));

        let draining = CancellationToken::new();
        let calls = TaskTracker::new();
        let sessions = Arc::new(SessionLinks {
            shards: shards.clone(),
            registries: registries.clone(),
            streams: OpenStreams::new(config.limits.max_streams),
            draining: draining.clone(),
            idle_timeout: config.audio.idle_timeout,
            max_utilization_percent: config.limits.max_utilization_percent,
        });
        let (max_chunk_bytes, max_file_bytes) = (config.audio.max_chunk_bytes, config.audio.max_file_bytes);
        let evaluator = move || registries.borrow().find("").map(|model| Evaluator::of(&model));
        let services = Services {
            recognition: Recognition::new(sessions, calls.clone(), max_chunk_bytes),
            evaluation: Evaluation::new(evaluator, draining.clone()),
            readiness: readiness.clone(),
            max_chunk_bytes,
            max_file_bytes,
        };
        let grpc = Task::spawn(|stop| server::serve(listeners.grpc, services, stop.cancelled_owned()));

        let reader = reader.map(|reader| Task::spawn_blocking(move |stop| reader.run(&stop)));
        readiness.met("model");
        unless_started.disarm();
        Ok(Some(Self {
            config,
            readiness,
            draining,
            calls,
            reader,
            grpc,
            shards: Some((shards, shard_threads)),
            reloader,
            publisher,
            sinks,
            producer,
            http_stop,
            http,
        }))
    }

    /// Waits for a stage to fail.
    async fn failure(&mut self) -> DaemonError {
        let reader = async {
            match &mut self.reader {
                Some(reader) => reader.ended("Kafka reader").await,
                None => std::future::pending().await,
            }
        };
        let shards = async {
            match &self.shards {
                Some((_, threads)) => threads.any_ended().await,
                None => std::future::pending().await,
            }
        };
        let sinks = async {
            let ended = self.sinks.iter_mut().map(|sink| Box::pin(sink.ended("Kafka event sink")));
            match self.producer {
                Some(_) => futures::future::select_all(ended).await.0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = reader => error,
            () = shards => DaemonError::Stage("shards"),
            error = self.publisher.ended("publisher") => error,
            error = sinks => error,
            error = self.grpc.ended("gRPC server") => error,
        }
    }
}

/// The sinks of the daemon, and their tasks.
struct Sinks {
    streams: StreamSinks,
    shadow_topics: HashMap<Arc<str>, EventSender>,
    tasks: Vec<Task<Result<(), EventSinkFault>>>,
}

/// The output topic's sink and one for each topic of a shadow; none where Kafka is off.
fn kafka_sinks(config: &Config, producer: Option<&EventProducer>) -> Sinks {
    let (mut shadow_topics, mut tasks) = (HashMap::new(), Vec::new());
    let Some(producer) = producer else {
        return Sinks { streams: StreamSinks::default(), shadow_topics, tasks };
    };
    let (sender, events) = EventSender::channel(EVENT_ROOM);
    let sink = EventSink::new(producer.clone(), events);
    tasks.push(Task::spawn(|stop| sink.run(stop)));
    for model in &config.models {
        let Role::Shadow { topic: Some(topic) } = &model.role else { continue };
        let (sender, events) = EventSender::channel(SHADOW_ROOM);
        let sink = EventSink::for_topic(producer.clone(), events, topic);
        tasks.push(Task::spawn(|stop| sink.run(stop)));
        shadow_topics.insert(topic.as_str().into(), sender);
    }
    let calls = if config.publish.kafka_for_grpc { vec![sender.clone()] } else { Vec::new() };
    Sinks { streams: StreamSinks { calls, partitions: vec![sender] }, shadow_topics, tasks }
}
