//! The stages of the daemon: how each is created and what it is connected to.
//!
//! Input: the configuration and the channels that the composition root made. Output: the task of each stage. Nothing here decides the order.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam_channel::{Receiver, Sender};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::DaemonError;
use super::task::Task;
use crate::batch::ScoredBatch;
use crate::calls::CallStore;
use crate::calls::alerts::AlertEvaluator;
use crate::config::{Config, Role};
use crate::evaluation::Evaluator;
use crate::kafka::event_sink::{EVENT_ROOM, EventSink, EventSinkFault, SHADOW_ROOM};
use crate::kafka::producer::{EventProducer, ForTransaction};
use crate::kafka::{DeliveryMode, KafkaFault, Reader, ReaderLinks, event_channel};
use crate::publish::CallOutput;
use crate::publish::live::LiveTap;
use crate::publish::publisher::Publisher;
use crate::publish::tap::EventTap;
use crate::security::{Attempts, Gate, ServerTls};
use crate::serving::{Decoders, EventSender, JobOrigin, RegistryReceiver, StreamSinks};
use crate::session::{OpenStreams, SessionLinks};
use crate::shard::{PartitionReport, ReportSender, Shards};
use crate::stream::MemoryBudget;
use crate::telemetry::{Readiness, metrics};
use crate::transport::Listener;
use crate::transport::grpc::evaluation::{Evaluation, EvaluationLimits};
use crate::transport::grpc::server::{self, Services};
use crate::transport::grpc::{Calls, Events, Recognition};
use crate::transport::http::{self, HttpSessions, LiveFeed, SessionSlot};
use crate::transport::ingest::{self, Access, AnnouncedCalls, AudioSocket, serve_audiosocket};
use crate::webhook::{Webhook, WebhookSender};

/// What every input of the daemon shares.
#[derive(Clone)]
pub(super) struct Inputs {
    /// The shards, the models, the ids of open streams and the limits. All transports share them, so that an id and a limit hold across transports.
    pub sessions: Arc<SessionLinks>,
    pub readiness: Readiness,
    /// The open calls of the gRPC server.
    pub calls: TaskTracker,
    /// The observers of published events.
    pub tap: EventTap,
}

/// The sinks of events beside the replies of calls, and their tasks.
pub(super) struct Sinks {
    pub streams: StreamSinks,
    /// By the topic that a shadow is configured with.
    pub shadow_topics: HashMap<Arc<str>, EventSender>,
    pub tasks: Vec<Task<Result<(), EventSinkFault>>>,
    /// The webhook of alerts; `None` where it is off.
    pub webhook: Option<(Task<()>, WebhookSender)>,
}

/// The readiness of a daemon that starts: the conditions that must hold first.
pub(super) fn readiness(config: &Config) -> Readiness {
    let kafka = config.kafka.as_ref().map(|_| "kafka");
    let conditions: Vec<&str> = ["model", "input"].into_iter().chain(kafka).collect();
    Readiness::starting(&conditions)
}

/// Starts the threads that decode the files of all inputs, with the budget of memory.
pub(super) fn decoders(config: &Config) -> std::io::Result<Decoders> {
    let budget = MemoryBudget::new(config.limits.max_memory_bytes);
    Decoders::start(budget, config.audio.max_file_duration)
}

/// Connects the inputs to the shards.
pub(super) fn inputs(
    config: &Config,
    (shards, decoders): (Shards, Decoders),
    models: RegistryReceiver,
    readiness: Readiness,
    tap: EventTap,
) -> Inputs {
    let sessions = Arc::new(SessionLinks {
        shards,
        registries: models,
        decoders,
        streams: OpenStreams::new(config.limits.max_streams),
        bounds: config.limits.bounds(),
        draining: CancellationToken::new(),
        first_chunk_timeout: config.limits.first_chunk_timeout,
        idle_timeout: config.audio.idle_timeout,
        unread_at_drain: AtomicUsize::new(0),
        max_pace: config.limits.max_pace as u32,
        max_utilization_percent: config.limits.max_utilization_percent,
    });
    Inputs { sessions, readiness, calls: TaskTracker::new(), tap }
}

/// Serves metrics, readiness and summaries of calls, and recordings once `sessions` is set.
pub(super) fn http(
    port: TcpListener,
    tls: Option<ServerTls>,
    (config, readiness, gate): (&Config, &Readiness, &Gate),
    (sessions, calls, live, announced): (&SessionSlot, &CallStore, &LiveTap, &Option<AnnouncedCalls>),
) -> Task<Result<(), std::io::Error>> {
    let (readiness, gate, sessions) = (readiness.clone(), gate.clone(), sessions.clone());
    let address = config.http.address.ip();
    let token = config.http.token.as_deref();
    let access = Access::new(&with_token(&config.ingest, token), &config.privacy, address, &gate);
    let token = token.map(Into::into);
    let metrics = metrics::install();
    let (calls, live) = (calls.clone(), LiveFeed::start(live, &config.calls));
    let announced_calls = announced.clone();
    let state = http::State {
        metrics,
        readiness,
        gate,
        token,
        exposed: !address.to_canonical().is_loopback(),
        attempts: Arc::new(Attempts::new(config.auth.max_failures)),
        sessions,
        calls,
        live,
        access,
        announced_calls,
    };
    let listener = Listener::http(http::connections(port), tls);
    Task::spawn(|stop| http::serve(listener, state, stop.cancelled_owned()))
}

/// Returns the options of the ingests, whose tokens include that of HTTP.
fn with_token(options: &ingest::Options, token: Option<&str>) -> ingest::Options {
    let tokens = options.tokens.iter().map(String::as_str).chain(token).map(str::to_owned).collect();
    ingest::Options { tokens, ..options.clone() }
}

/// Serves AudioSocket connections.
pub(super) fn audiosocket(
    (port, calls): (TcpListener, AnnouncedCalls),
    config: &Config,
    sessions: &SessionSlot,
) -> Task<Result<(), std::io::Error>> {
    let address = config.ingest.audiosocket_address.map_or(Ipv4Addr::UNSPECIFIED.into(), |it| it.ip());
    let access = Access::new(&config.ingest, &config.privacy, address, &Gate::open());
    let server = AudioSocket { access, sessions: sessions.clone(), calls };
    Task::spawn(|stop| serve_audiosocket(port, server, stop))
}

/// Lets HTTP requests enter the daemon.
pub(super) fn open_http(slot: &SessionSlot, inputs: &Inputs) {
    let sessions = HttpSessions { links: inputs.sessions.clone(), calls: inputs.calls.clone() };
    slot.open(sessions);
    inputs.readiness.met("input");
}

/// The producer of events and dead letters; `None` where Kafka is off.
pub(super) fn producer(
    config: &Config,
    batch_limit: Option<usize>,
    reports_to: &ReportSender,
) -> Result<Option<EventProducer>, KafkaFault> {
    let kafka = config.kafka.as_ref();
    kafka.map(|kafka| EventProducer::new(kafka, batch_limit, reports_to.reports.clone())).transpose()
}

/// The channel of events that are published in transactions; `None` where each is published by itself.
pub(super) fn transactions(
    config: &Config,
) -> (Option<Sender<ForTransaction>>, Option<Receiver<ForTransaction>>) {
    let kafka = config.kafka.as_ref();
    let exactly_once = kafka.filter(|kafka| kafka.delivery == DeliveryMode::ExactlyOnce);
    exactly_once.map(|_| event_channel()).unzip()
}

/// A sink for the output topic and one for the topic of each shadow; none where Kafka is off.
///
/// With exactly-once delivery the events of partitions have a sink of their own, which sends them to the reader.
pub(super) fn sinks(
    config: &Config,
    producer: Option<&EventProducer>,
    transactions: Option<Sender<ForTransaction>>,
) -> Sinks {
    let (mut shadow_topics, mut tasks) = (HashMap::new(), Vec::new());
    let Some(producer) = producer else {
        let webhook = webhook(config, None);
        return Sinks { streams: StreamSinks::default(), shadow_topics, tasks, webhook };
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
    let webhook = webhook(config, Some(sender.clone()));
    let partitions = match transactions {
        None => vec![sender],
        Some(transactions) => {
            let (sender, events) = EventSender::channel(EVENT_ROOM);
            let sink = EventSink::in_transactions(producer.clone(), transactions, events);
            tasks.push(Task::spawn(|stop| sink.run(stop)));
            vec![sender]
        }
    };
    Sinks { streams: StreamSinks { calls, partitions }, shadow_topics, tasks, webhook }
}

/// The webhook of alerts, where it is on. Alerts that it does not accept go to the sink `dead_letters`.
fn webhook(config: &Config, dead_letters: Option<EventSender>) -> Option<(Task<()>, WebhookSender)> {
    let (webhook, sender) = Webhook::new(&config.webhook, dead_letters)?;
    Some((Task::spawn(|stop| webhook.run(stop)), sender))
}

/// Turns the results of all models into events, until the last batcher has ended.
pub(super) fn publisher(
    config: &Config,
    sinks: &Sinks,
    (tap, live, store): (EventTap, LiveTap, &CallStore),
    results: mpsc::Receiver<ScoredBatch<JobOrigin>>,
) -> Task<()> {
    let (options, sink) = (config.calls.clone(), sinks.streams.partitions.first().cloned());
    config.alerts.iter().for_each(|rule| metrics::alert_rule(&rule.name));
    let alerts = AlertEvaluator::new(config.alerts.clone());
    let webhook = sinks.webhook.as_ref().map(|(_, sender)| sender.clone());
    let calls = CallOutput { options, store: store.clone(), sink, alerts, live: live.clone(), webhook };
    let (options, shadow_topics) = (config.publish.clone(), sinks.shadow_topics.clone());
    let publisher = Publisher { options, shadow_topics, tap, live, calls };
    Task::spawn(|_| publisher.run(results))
}

/// Reads the input topic on a thread of its own; `None` where Kafka is off.
pub(super) fn reader(
    config: &Config,
    inputs: &Inputs,
    producer: Option<&EventProducer>,
    (reports, events): (Receiver<PartitionReport>, Option<Receiver<ForTransaction>>),
) -> Result<Option<Task<Result<(), KafkaFault>>>, KafkaFault> {
    let Some((kafka, producer)) = config.kafka.as_ref().zip(producer) else { return Ok(None) };
    let links = ReaderLinks {
        shards: inputs.sessions.shards.clone(),
        registries: inputs.sessions.registries.clone(),
        memory: inputs.sessions.decoders.budget().clone(),
        reports,
        producer: producer.clone(),
        events,
        readiness: inputs.readiness.clone(),
        idle_timeout: config.audio.idle_timeout,
        grace_period: config.limits.grace_period,
        revoke_timeout: config.limits.revoke_timeout,
    };
    let reader = Reader::new(kafka, links)?;
    Ok(Some(Task::spawn_blocking(move |stop| reader.run(&stop))))
}

/// The limits of evaluations.
fn evaluation_limits(config: &Config) -> EvaluationLimits {
    EvaluationLimits {
        options: config.evaluation.clone(),
        first_clip_timeout: config.limits.first_chunk_timeout,
        idle_timeout: config.audio.idle_timeout,
    }
}

/// Serves recognition, evaluation, events, health and reflection.
pub(super) fn grpc(
    port: TcpListener,
    (tls, gate): (Option<ServerTls>, Gate),
    config: &Config,
    (inputs, store): (Inputs, CallStore),
) -> Task<Result<(), tonic::transport::Error>> {
    let Inputs { sessions, readiness, calls, tap } = inputs;
    let (models, draining) = (sessions.registries.clone(), sessions.draining.clone());
    let (decoders, budget) = (sessions.decoders.clone(), sessions.decoders.budget().clone());
    let evaluator = move || models.borrow().find("").map(|model| Evaluator::of(&model, decoders.clone()));
    let services = Services {
        calls: Calls::new(store, draining.clone()),
        recognition: Recognition::new(sessions, calls, config.audio.max_chunk_bytes),
        evaluation: Evaluation::new(evaluator, draining, evaluation_limits(config)),
        events: Events::new(tap),
        readiness,
        gate,
        max_chunk_bytes: config.audio.max_chunk_bytes,
        max_file_bytes: config.audio.max_file_bytes,
        options: config.grpc.clone(),
        budget,
    };
    let listener = Listener::grpc(server::connections(port, &config.grpc), tls);
    Task::spawn(|stop| server::serve(listener, services, stop.cancelled_owned()))
}

impl Sinks {
    /// Waits until a sink fails; never returns where there is none.
    pub async fn failed(&mut self) -> DaemonError {
        let ended = self.tasks.iter_mut().map(|sink| Box::pin(sink.ended("Kafka event sink")));
        let ended: Vec<_> = ended.collect();
        if ended.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(ended).await.0
    }
}
