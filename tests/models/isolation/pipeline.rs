//! The stages from the shard to the sinks in one process, with a model whose session a test holds.
//!
//! Input: chunks of calls and records. Output: events, reports and what the sinks receive. Every wait is bounded. Holds no assertion about the stages.

use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use affectd::audio::{AudioFormat, Encoding};
use affectd::batch::{self, Batcher, Infer, ScoredBatch};
use affectd::calls::CallStore;
use affectd::config::{self, Config};
use affectd::model::{Contract, EngineError, Layout, Output, Predictions};
use affectd::publish::CallOutput;
use affectd::publish::publisher::Publisher;
use affectd::serving::{
    CallReply, Decoders, EventReceiver, EventSender, JobOrigin, ServedModel, SinkEvent, SinkMessage,
    StreamSinks, Utilization,
};
use affectd::shard::{
    self, ChunkEnvelope, ChunkSource, PartitionReport, ReportSender, ShardMessage, ShardThreads, Shards,
};
use affectd::stream::{Assignment, Chunk, MemoryBudget, StreamInfo, StreamSetup};
use affectd::telemetry::metrics::Source;
use tokio::sync::{Semaphore, mpsc};

pub use crate::support::PATIENCE;
use crate::support::model_fixture;

pub const HOP: usize = 4_000;
pub const ASSIGNMENT: Assignment = Assignment { partition: 0, number: 1 };

/// A session that waits for the test before each run, where it has a gate.
pub struct Session(Option<blocking::Receiver<()>>);

impl Infer for Session {
    fn infer(&mut self, _: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError> {
        if let Some(gate) = &self.0 {
            // Open for good once the test has dropped its side.
            _ = gate.recv();
        }
        out.clear();
        out.scores.extend([0.5, 0.3, 0.2].repeat(batch));
        Ok(())
    }
}

/// A model in service whose batcher holds one window beside the one that runs.
pub fn served(
    name: &str,
    gate: Option<blocking::Receiver<()>>,
    scored: &mpsc::Sender<ScoredBatch<JobOrigin>>,
) -> (Arc<ServedModel>, Batcher<Session>) {
    let tiny = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    let contract = Arc::new(Contract { name: name.into(), ..tiny });
    let Config { window, audio, .. } = Config::default();
    let setup = StreamSetup::new(&contract, &window, &audio).unwrap();
    let options =
        config::Batch { max_size: Some(1), max_delay: Duration::ZERO, queue_size: 2, max_age: None };
    let (jobs, waiting) = batch::inbox(&options);
    let batcher = batch::start(contract.clone(), vec![Session(gate)], &options, waiting, scored.clone());
    let utilization = Utilization::new(batcher.cost().clone(), 1, Duration::from_millis(500));
    let room = || Arc::new(Semaphore::new(64));
    let (share, ahead, backlog) = (room(), room(), room());
    let shadows = Vec::new();
    // Other than any other model's: the scratch of a shard is kept by it.
    let setup_number = name.len() as u64;
    let served = ServedModel {
        contract,
        setup,
        setup_number,
        jobs,
        share,
        ahead,
        backlog,
        is_only: false,
        utilization,
        shadows,
    };
    (Arc::new(served), batcher)
}

/// One shard, and the reports of its partitions.
pub struct Pipeline {
    pub shards: Shards,
    pub threads: ShardThreads,
    pub reports: crossbeam_channel::Receiver<PartitionReport>,
    pub decoders: Decoders,
}

pub fn pipeline(sinks: &StreamSinks) -> Pipeline {
    let (report, reports) = crossbeam_channel::unbounded();
    let decoders = Decoders::start(MemoryBudget::new(1 << 24), Duration::from_secs(60)).unwrap();
    let (shards, threads) = shard::start(1, 4, &ReportSender { reports: report }, sinks, &decoders).unwrap();
    Pipeline { shards, threads, reports, decoders }
}

pub fn publish(scored: mpsc::Receiver<ScoredBatch<JobOrigin>>) {
    let options = Config::default().publish;
    let calls = Config::default().calls;
    let calls = CallOutput {
        store: CallStore::new(&calls),
        options: calls,
        sink: None,
        alerts: Default::default(),
        live: Default::default(),
        webhook: None,
    };
    let tap = affectd::publish::tap::EventTap::default();
    tokio::spawn(
        Publisher { options, shadow_topics: Default::default(), tap, live: Default::default(), calls }
            .run(scored),
    );
}

/// A call's stream.
pub struct CallStream {
    pub number: u64,
    pub model: Arc<ServedModel>,
    pub info: Arc<StreamInfo>,
    pub replies: mpsc::Sender<CallReply>,
    pub inbox: mpsc::Receiver<CallReply>,
    begun: bool,
}

pub fn audio(last: bool) -> Chunk {
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).unwrap();
    let audio = model_audio().into();
    Chunk { format: Some(format), audio, last, ..Chunk::default() }
}

pub fn model_audio() -> Vec<u8> {
    (0..HOP).map(|at| (at * 31 % 251) as u8).collect()
}

/// A chunk on its way to the shard, without a part of any shared room.
fn envelope(
    info: &Arc<StreamInfo>,
    model: &Arc<ServedModel>,
    chunk: Chunk,
    source: ChunkSource,
) -> ChunkEnvelope {
    ChunkEnvelope {
        info: info.clone(),
        declared: None,
        chunk,
        captured_at: None,
        source,
        resume: None,
        model: model.clone(),
        share: None,
        ahead: None,
        memory: None,
    }
}

impl CallStream {
    pub fn new(number: u64, model: &Arc<ServedModel>) -> Self {
        let (replies, inbox) = mpsc::channel(1_000);
        let info = StreamInfo { stream_id: format!("call-{number}").into(), ..StreamInfo::default() };
        Self { number, model: model.clone(), info: Arc::new(info), replies, inbox, begun: false }
    }

    pub async fn send(&mut self, pipeline: &Pipeline, last: bool) {
        let (number, first) = (self.number, !std::mem::replace(&mut self.begun, true));
        let credits = Arc::new(Semaphore::new(64)).acquire_many_owned(64).await.unwrap();
        let (replies, refusals) = (self.replies.clone(), mpsc::channel(1).0);
        let source = ChunkSource::Session {
            source: Source::GRPC,
            number,
            first,
            continues: false,
            replies,
            refusals,
            credits,
        };
        let share = Some(self.model.share.clone().try_acquire_owned().unwrap());
        let envelope = ChunkEnvelope { share, ..envelope(&self.info, &self.model, audio(last), source) };
        pipeline.send(ShardMessage::Chunk(Box::new(envelope))).await;
    }

    /// Indexes of the next `count` events.
    pub async fn events(&mut self, count: usize) -> Vec<u64> {
        let mut indexes = Vec::new();
        while indexes.len() < count {
            match bounded(self.inbox.recv()).await {
                Some(CallReply::Event(event, _credit)) => indexes.push(event.window_index),
                other => panic!("an event was expected: {other:?}"),
            }
        }
        indexes
    }
}

impl Pipeline {
    pub async fn send(&self, message: ShardMessage) {
        bounded(self.shards.of("").send(message)).await.unwrap();
    }

    /// Waits until so many chunks of partitions are reported as accepted.
    pub fn accepted(&self, count: usize) {
        let mut found = 0;
        while found < count {
            let report = self.reports.recv_timeout(PATIENCE).expect("each chunk is reported");
            found += usize::from(matches!(report, PartitionReport::ChunkAccepted(_)));
        }
    }

    /// Sends a record of a partition's stream.
    pub async fn record(&self, stream_id: &str, model: &Arc<ServedModel>, offset: i64, chunk: Chunk) {
        let info = Arc::new(StreamInfo { stream_id: stream_id.into(), ..StreamInfo::default() });
        let source = ChunkSource::Kafka { assignment: ASSIGNMENT, offset };
        let envelope = envelope(&info, model, chunk, source);
        self.send(ShardMessage::Chunk(Box::new(envelope))).await;
    }
}

pub async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes at once where nothing is broken")
}

/// A sink with so much room, whose task takes nothing.
pub fn stalled(room: usize) -> (EventSender, EventReceiver) {
    EventSender::channel(room)
}

/// The stream and the index of the next event.
pub async fn next_of(events: &mut EventReceiver) -> (String, u64) {
    let event = bounded(events.recv()).await.unwrap();
    let SinkMessage::Event(event) = event.message else { panic!("an event: {event:?}") };
    (event.stream_id.clone(), event.window_index)
}

/// The index of the window whose event a sink has received.
pub fn index_of(event: &SinkEvent) -> u64 {
    let SinkMessage::Event(event) = &event.message else { panic!("an event: {event:?}") };
    event.window_index
}
