//! Streams wait alone: a blocked model and a full sink delay only the streams that need them, and every stream's end follows its last window.
//!
//! The stages are the real ones, in one process; only the model's session is a fake. Nothing here depends on timing: a blocked session waits
//! for the test.

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
    StreamKey,
};
use affectd::stream::{Assignment, Chunk, MemoryBudget, StreamInfo, StreamSetup};
use affectd::telemetry::metrics::Source;
use tokio::sync::{Semaphore, mpsc};

use crate::support::decoder_entries::file_fixture::{MU_LAW, wav};
use crate::support::model_fixture;

/// Half a second at 8 kHz: from the second chunk on each completes one window.
const HOP: usize = 4_000;
const PATIENCE: Duration = Duration::from_secs(60);
const ASSIGNMENT: Assignment = Assignment { partition: 0, number: 1 };

/// A session that waits for the test before each run, where it has a gate.
struct Session(Option<blocking::Receiver<()>>);

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
fn served(
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
struct Pipeline {
    shards: Shards,
    threads: ShardThreads,
    reports: crossbeam_channel::Receiver<PartitionReport>,
    decoders: Decoders,
}

fn pipeline(sinks: &StreamSinks) -> Pipeline {
    let (report, reports) = crossbeam_channel::unbounded();
    let decoders = Decoders::start(MemoryBudget::new(1 << 24), Duration::from_secs(60)).unwrap();
    let (shards, threads) = shard::start(1, 4, &ReportSender { reports: report }, sinks, &decoders).unwrap();
    Pipeline { shards, threads, reports, decoders }
}

fn publish(scored: mpsc::Receiver<ScoredBatch<JobOrigin>>) {
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
struct CallStream {
    number: u64,
    model: Arc<ServedModel>,
    info: Arc<StreamInfo>,
    replies: mpsc::Sender<CallReply>,
    inbox: mpsc::Receiver<CallReply>,
    begun: bool,
}

fn audio(last: bool) -> Chunk {
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).unwrap();
    let audio = model_audio().into();
    Chunk { format: Some(format), audio, last, ..Chunk::default() }
}

fn model_audio() -> Vec<u8> {
    (0..HOP).map(|at| (at * 31 % 251) as u8).collect()
}

impl CallStream {
    fn new(number: u64, model: &Arc<ServedModel>) -> Self {
        let (replies, inbox) = mpsc::channel(1_000);
        let info = StreamInfo { stream_id: format!("call-{number}").into(), ..StreamInfo::default() };
        Self { number, model: model.clone(), info: Arc::new(info), replies, inbox, begun: false }
    }

    async fn send(&mut self, pipeline: &Pipeline, last: bool) {
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
        let (info, model, chunk) = (self.info.clone(), self.model.clone(), audio(last));
        let envelope = ChunkEnvelope {
            info,
            declared: None,
            chunk,
            captured_at: None,
            source,
            resume: None,
            model,
            share,
            ahead: None,
            memory: None,
        };
        pipeline.send(ShardMessage::Chunk(Box::new(envelope))).await;
    }

    /// Indexes of the next `count` events.
    async fn events(&mut self, count: usize) -> Vec<u64> {
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
    async fn send(&self, message: ShardMessage) {
        bounded(self.shards.of("").send(message)).await.unwrap();
    }

    /// Waits until so many chunks of partitions are reported as accepted.
    fn accepted(&self, count: usize) {
        let mut found = 0;
        while found < count {
            let report = self.reports.recv_timeout(PATIENCE).expect("each chunk is reported");
            found += usize::from(matches!(report, PartitionReport::ChunkAccepted(_)));
        }
    }

    /// Sends a record of a partition's stream.
    async fn record(&self, stream_id: &str, model: &Arc<ServedModel>, offset: i64, chunk: Chunk) {
        let info = Arc::new(StreamInfo { stream_id: stream_id.into(), ..StreamInfo::default() });
        let source = ChunkSource::Kafka { assignment: ASSIGNMENT, offset };
        let model = model.clone();
        let envelope = ChunkEnvelope {
            info,
            declared: None,
            chunk,
            captured_at: None,
            source,
            resume: None,
            model,
            share: None,
            ahead: None,
            memory: None,
        };
        self.send(ShardMessage::Chunk(Box::new(envelope))).await;
    }
}

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes at once where nothing is broken")
}

#[tokio::test]
async fn a_blocked_model_delays_only_its_own_streams() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _slow_batcher) = served("slow", Some(waiting), &scored);
    let (fast, _fast_batcher) = served("fast-one", None, &scored);
    publish(results);
    let pipeline = pipeline(&StreamSinks::default());
    let (mut one, mut other) = (CallStream::new(1, &slow), CallStream::new(2, &slow));
    let mut quick = CallStream::new(3, &fast);
    // Far more windows than the slow model's queue holds, and more messages than the inbox of the shard.
    for _ in 0..20 {
        one.send(&pipeline, false).await;
        other.send(&pipeline, false).await;
    }
    for index in 0..20 {
        quick.send(&pipeline, false).await;
        if index > 0 {
            assert_eq!(quick.events(1).await, [index - 1], "while no window of the slow model is done");
        }
    }
    assert!(one.inbox.try_recv().is_err() && other.inbox.try_recv().is_err());
    drop(gate);
    let all: Vec<u64> = (0..19).collect();
    assert_eq!((one.events(19).await, other.events(19).await), (all.clone(), all));
    assert_eq!(slow.share.available_permits(), 64, "every place is released");
}

/// A file of `hops` hops, whole or without its last byte.
fn file(hops: usize, is_whole: bool) -> Chunk {
    let mut bytes = wav(MU_LAW, 8, 1, 8_000, &model_audio().repeat(hops));
    bytes.truncate(bytes.len() - usize::from(!is_whole));
    Chunk { format: Some(AudioFormat::FILE), audio: bytes.into(), last: true, ..Chunk::default() }
}

/// Keeps every thread for decoding, one for two cores, busy until the returned senders are dropped.
async fn occupy(decoders: &Decoders) -> Vec<blocking::Sender<()>> {
    let (begin, mut begun) = mpsc::channel(1);
    let mut busy = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get().div_ceil(2) {
        let (sender, released) = blocking::channel::<()>();
        let (decoders, begin) = (decoders.clone(), begin.clone());
        let step = move || {
            begin.blocking_send(()).unwrap();
            // Fails once the sender is dropped.
            _ = released.recv();
        };
        tokio::spawn(async move { decoders.run(step).await });
        bounded(begun.recv()).await.unwrap();
        busy.push(sender);
    }
    busy
}

/// The stream and the index of the next event.
async fn next_of(events: &mut EventReceiver) -> (String, u64) {
    let event = bounded(events.recv()).await.unwrap();
    let SinkMessage::Event(event) = event.message else { panic!("an event: {event:?}") };
    (event.stream_id.clone(), event.window_index)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_decoded_delays_no_other_stream_of_its_shard() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (sink, mut events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    let busy = occupy(&pipeline.decoders).await;
    pipeline.record("file", &model, 0, file(10, true)).await;
    // A second stream of the same id waits behind the file.
    pipeline.record("file", &model, 1, audio(false)).await;
    for offset in 2..6 {
        pipeline.record("samples", &model, offset, audio(false)).await;
    }
    pipeline.accepted(4);
    for index in 0..3 {
        assert_eq!(next_of(&mut events).await, ("samples".to_owned(), index));
    }
    drop(busy);
    pipeline.accepted(2);
    for index in 0..9 {
        assert_eq!(next_of(&mut events).await, ("file".to_owned(), index));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_decoded_goes_on_only_as_its_model_does() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _slow_batcher) = served("slow", Some(waiting), &scored);
    let (fast, _fast_batcher) = served("fast-one", None, &scored);
    publish(results);
    let (sink, mut events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    pipeline.record("file", &slow, 0, file(40, true)).await;
    pipeline.record("broken", &fast, 1, file(40, false)).await;
    let refused = loop {
        match pipeline.reports.recv_timeout(PATIENCE).unwrap() {
            PartitionReport::Refused { offset, reason, .. } => break (offset, reason),
            PartitionReport::WindowSubmitted(ticket) => {
                assert_eq!(ticket.needed_from, 0, "it needs the whole file")
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused.0, 1);
    assert!(refused.1.contains("truncated"), "{}", refused.1);
    for offset in 2..6 {
        pipeline.record("samples", &fast, offset, audio(false)).await;
    }
    pipeline.accepted(4);
    for index in 0..3 {
        assert_eq!(next_of(&mut events).await, ("samples".to_owned(), index));
    }
    drop(gate);
    pipeline.accepted(1);
    for index in 0..39 {
        assert_eq!(next_of(&mut events).await, ("file".to_owned(), index));
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_what_waited_for_a_blocked_model() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _batcher) = served("slow", Some(waiting), &scored);
    publish(results);
    let pipeline = pipeline(&StreamSinks::default());
    let mut stream = CallStream::new(1, &slow);
    for _ in 0..20 {
        stream.send(&pipeline, false).await;
    }
    stream.inbox.close();
    pipeline.send(ShardMessage::Forget(StreamKey::Session(1))).await;
    // All places come free while the model is still blocked.
    drop(bounded(slow.share.clone().acquire_many_owned(64)).await.unwrap());
    drop(gate);
}

#[tokio::test]
async fn a_refused_call_gets_the_events_of_the_audio_before() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, _batcher) = served("slow", Some(waiting), &scored);
    publish(results);
    let pipeline = pipeline(&StreamSinks::default());
    let mut stream = CallStream::new(1, &slow);
    for _ in 0..20 {
        stream.send(&pipeline, false).await;
    }
    pipeline.send(ShardMessage::Forget(StreamKey::Session(1))).await;
    drop(gate);
    assert_eq!(stream.events(19).await, (0..19).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_drain_gives_the_windows_that_waited() {
    let (scored, results) = mpsc::channel(16);
    let (gate, waiting) = blocking::channel();
    let (slow, batcher) = served("slow", Some(waiting), &scored);
    publish(results);
    drop(scored);
    let pipeline = pipeline(&StreamSinks::default());
    let mut stream = CallStream::new(1, &slow);
    stream.send(&pipeline, false).await;
    stream.send(&pipeline, false).await;
    for _ in 0..8 {
        stream.send(&pipeline, false).await;
    }
    let key = StreamKey::Session(1);
    pipeline.send(ShardMessage::Close { key, credits: None }).await;
    let Pipeline { shards, threads, .. } = pipeline;
    drop(shards);
    drop(gate);
    assert_eq!(stream.events(9).await, (0..9).collect::<Vec<_>>());
    bounded(tokio::task::spawn_blocking(move || threads.join())).await.unwrap();
    drop((stream, slow));
    bounded(batcher.join()).await;
}

/// A sink with so much room, whose task takes nothing.
fn stalled(room: usize) -> (EventSender, EventReceiver) {
    EventSender::channel(room)
}

#[tokio::test]
async fn replies_do_not_wait_for_a_stalled_sink() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (sink, mut events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![sink.clone()], partitions: vec![sink] });
    let mut stream = CallStream::new(1, &model);
    for _ in 0..21 {
        stream.send(&pipeline, false).await;
    }
    assert_eq!(stream.events(20).await, (0..20).collect::<Vec<_>>(), "and the sink has taken none yet");
    for index in 0..20 {
        let delivered = events.try_recv().unwrap();
        assert!(index_of(&delivered) == index && delivered.settles.is_none());
    }
}

#[tokio::test]
async fn a_full_sink_delays_only_the_streams_that_feed_it() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (full, mut taken) = stalled(2);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![full] });
    for offset in 0..12 {
        pipeline.record("kafka", &model, offset, audio(offset == 11)).await;
    }
    let mut stream = CallStream::new(1, &model);
    for index in 0..20 {
        stream.send(&pipeline, false).await;
        if index > 0 {
            assert_eq!(stream.events(1).await, [index - 1]);
        }
    }
    for index in 0..11 {
        let event = bounded(taken.recv()).await.unwrap();
        let settles = event.settles.as_ref().unwrap();
        assert_eq!((index_of(&event), settles.ticket.index), (index, index));
    }
    assert!(taken.try_recv().is_err());
    pipeline.accepted(12);
}

#[tokio::test]
async fn a_record_with_more_windows_than_may_wait_gives_them_all_in_order() {
    let (scored, results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    publish(results);
    let (sink, mut taken) = stalled(2);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    // As large as `audio.max_chunk_bytes` allows: 131 seconds.
    let large = model_audio().into_iter().cycle().take(1 << 20).collect::<Vec<_>>();
    pipeline.record("large", &model, 0, Chunk { audio: large.into(), ..audio(true) }).await;
    for index in 0..261 {
        assert_eq!(index_of(&bounded(taken.recv()).await.unwrap()), index);
    }
    pipeline.accepted(1);
}

/// Indexes of each stream's windows in the order in which they come, and `None` for its end, until so many have come in all.
async fn passed(
    results: &mut mpsc::Receiver<ScoredBatch<JobOrigin>>,
    (windows, ends): (usize, usize),
) -> Vec<(String, Option<u64>)> {
    let (mut all, mut ended) = (Vec::new(), 0);
    while ended < ends || all.len() < windows + ends {
        for window in bounded(results.recv()).await.unwrap().windows {
            match window.origin {
                JobOrigin::Window(window) => {
                    all.push((window.stream.stream_id.to_string(), Some(window.index)))
                }
                JobOrigin::StreamEnd(stream) => {
                    ended += 1;
                    all.push((stream.stream_id.to_string(), None));
                }
                JobOrigin::Clip(_) | JobOrigin::CallStream(_) => panic!("there are no clips and no calls"),
            }
        }
    }
    all
}

/// The index of the window whose event a sink has received.
fn index_of(event: &SinkEvent) -> u64 {
    let SinkMessage::Event(event) = &event.message else { panic!("an event: {event:?}") };
    event.window_index
}

fn of<'a>(all: &'a [(String, Option<u64>)], stream_id: &'a str) -> Vec<Option<u64>> {
    all.iter().filter(|(id, _)| id == stream_id).map(|(_, what)| *what).collect()
}

#[tokio::test]
async fn the_end_of_a_stream_follows_its_last_window() {
    let (scored, mut results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    let (sink, _events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    let mut streams: Vec<_> = (0..4).map(|number| CallStream::new(number, &model)).collect();
    // Windows of the streams alternate; each stream ends in another way.
    for offset in 0..4 {
        for stream in &mut streams {
            stream.send(&pipeline, stream.number == 0 && offset == 3).await;
        }
        pipeline.record("last", &model, 10 + offset, audio(offset == 3)).await;
        pipeline.record("revoked", &model, 20 + offset, audio(false)).await;
    }
    pipeline.send(ShardMessage::Close { key: StreamKey::Session(1), credits: None }).await;
    pipeline.send(ShardMessage::Forget(StreamKey::Session(2))).await;
    pipeline.send(ShardMessage::Forget(StreamKey::Session(3))).await;
    let mut all = passed(&mut results, (18, 5)).await;
    pipeline.send(ShardMessage::ForgetAssignment(ASSIGNMENT)).await;
    all.extend(passed(&mut results, (0, 1)).await);
    for id in ["call-0", "call-1", "call-2", "call-3", "last", "revoked"] {
        assert_eq!(of(&all, id), [Some(0), Some(1), Some(2), None], "{id}: {all:?}");
    }
}

#[tokio::test]
async fn a_stream_without_windows_ends_too_and_one_of_the_same_name_is_another() {
    let (scored, mut results) = mpsc::channel(16);
    let (model, _batcher) = served("model", None, &scored);
    let (sink, _events) = stalled(1_000);
    let pipeline = pipeline(&StreamSinks { calls: vec![], partitions: vec![sink] });
    // Half a second: shorter than `window.min_length`.
    pipeline.record("kafka", &model, 0, audio(true)).await;
    for offset in 1..4 {
        pipeline.record("kafka", &model, offset, audio(offset == 3)).await;
    }
    let all = passed(&mut results, (2, 2)).await;
    assert_eq!(of(&all, "kafka"), [None, Some(0), Some(1), None]);
}

#[tokio::test]
async fn the_end_comes_behind_a_blocked_model_as_well() {
    let (scored, mut results) = mpsc::channel(64);
    let (gate, waiting) = blocking::channel();
    let (slow, _batcher) = served("slow", Some(waiting), &scored);
    let pipeline = pipeline(&StreamSinks::default());
    let (mut closed, mut left) = (CallStream::new(1, &slow), CallStream::new(2, &slow));
    for _ in 0..10 {
        closed.send(&pipeline, false).await;
        left.send(&pipeline, false).await;
    }
    pipeline.send(ShardMessage::Close { key: StreamKey::Session(1), credits: None }).await;
    left.inbox.close();
    pipeline.send(ShardMessage::Forget(StreamKey::Session(2))).await;
    drop(gate);
    let all = passed(&mut results, (9, 2)).await;
    let expected: Vec<_> = (0..9).map(Some).chain([None]).collect();
    assert_eq!(of(&all, "call-1"), expected);
    // Windows that waited in the shard are dropped with a stream that is forgotten, and its end still comes last.
    let left = of(&all, "call-2");
    assert!(left.len() < 10 && left.ends_with(&[None]), "{left:?}");
    assert_eq!(left[..left.len() - 1], expected[..left.len() - 1]);
}
