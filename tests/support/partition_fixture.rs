//! The real partition, committer and shard of a reader, with a broker that outlives it: all that is replaced are librdkafka and the model.
//!
//! Input: records, and what happens after each: acknowledgements, commits and their outcomes, crashes. Output: what was published. Asserts that a window
//! that is published again is the same as before, and that no record is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use affectd::batch::{InferenceCost, Job};
use affectd::config::{Config, Smoothing, SmoothingMethod, Vad, VadMode};
use affectd::kafka::{
    Commit, CommitMetadata, CommitOutcome, Committed, Committer, Delivery, KafkaFault, Partition,
    PartitionCommit, PartitionEnd, PartitionStart, Progress, ProgressLog, ProgressRecord, RawRecord,
    RecordWriters, ResolvedProgress,
};
use affectd::model::{Contract, Layout, Output, WindowShape};
use affectd::proto;
use affectd::publish::smoothing::RawScores;
use affectd::publish::stream_states::StreamStates;
use affectd::serving::{
    JobOrigin, ModelRegistry, Recipient, RegistryReceiver, ServedModel, StreamSinks, Utilization,
    WindowEnvelope,
};
use affectd::shard::{PartitionReport, ReportSender, Shard, ShardMessage, Shards};
use affectd::stream::{Assignment, ChannelState, Chunk, StreamSetup, Ticket};
use prost::Message;
use rdkafka::message::OwnedHeaders;
use tokio::sync::{Semaphore, mpsc, watch};

use super::model_fixture;

pub const IDLE_MS: i64 = 5_000;
const GROUP: &str = "affectd";
const SMOOTHING: Smoothing = Smoothing { method: SmoothingMethod::Exponential, windows: 4 };
/// Messages that the shard has room for: the second one of a record with an idle end waits in the partition.
const SHARD_QUEUE: usize = 1;
/// More windows than any of the tests has.
const WINDOWS: usize = 1 << 14;

/// A record before it is encoded.
#[derive(Debug, Clone)]
pub struct Input {
    pub stream_id: Arc<str>,
    pub chunk: Chunk,
    /// In ms.
    pub timestamp: i64,
}

impl Input {
    fn record(&self) -> RawRecord {
        let Chunk { sequence, first_sample, format, audio, last } = self.chunk.clone();
        let chunk = proto::AudioChunk {
            stream_id: self.stream_id.to_string(),
            sequence,
            first_sample,
            format: format.and_then(affectd::audio::AudioFormat::to_proto),
            audio,
            last,
            ..proto::AudioChunk::default()
        };
        RawRecord {
            key: None,
            value: Some(chunk.encode_to_vec().into()),
            headers: OwnedHeaders::new(),
            timestamp: None,
        }
    }
}

/// What becomes of a commit at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerOutcome {
    /// It is applied, and the reader is told.
    Acknowledged,
    /// Its progress is written, its offset is not committed.
    OffsetLost,
    /// It is applied up to its offset, and the reader is not told.
    AcknowledgementLost,
}

/// Stream, channel, index, partial.
pub type Name = (String, u32, u64, bool);
/// Features and smoothed scores of a window.
pub type Window = (Vec<f32>, Vec<f32>);
pub type Published = BTreeMap<Name, Window>;

/// How readers deliver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each event is published as soon as it is there.
    #[default]
    AtLeastOnce,
    /// Events are published with the commit that settles them; each must be new.
    ExactlyOnce,
    /// The readers take turns: at least once, then exactly once.
    Alternating,
}

/// What outlives a reader.
#[derive(Debug, Default)]
pub struct Broker {
    pub committed: Option<i64>,
    /// The last commit, with its metadata.
    commit: Committed,
    /// The progress topic; a record without a value is a tombstone.
    progress: Vec<(Arc<str>, RecordWriters, Option<Vec<u8>>)>,
    /// Readers so far.
    readers: u64,
    /// How the next readers deliver.
    pub delivery: Mode,
    pub published: Published,
    /// All that was published in transactions, in order.
    pub publications: Vec<(Name, Window)>,
}

impl Broker {
    /// A broker whose readers publish in transactions.
    pub fn exactly_once() -> Self {
        Self { delivery: Mode::ExactlyOnce, ..Self::default() }
    }

    /// The newest record of a stream.
    pub fn progress(&self, stream_id: &str) -> Progress {
        let newest = self.progress.iter().rfind(|(id, ..)| **id == *stream_id).unwrap();
        parse(newest.2.as_ref().unwrap())
    }

    /// Returns whether the newest record of a stream is a tombstone.
    pub fn is_deleted(&self, stream_id: &str) -> bool {
        let newest = self.progress.iter().rfind(|(id, ..)| **id == *stream_id);
        newest.is_some_and(|(.., value)| value.is_none())
    }

    /// The newest record of a stream; `None` before its first one.
    pub fn progress_or_none(&self, stream_id: &str) -> Option<Progress> {
        self.progress.iter().any(|(id, ..)| **id == *stream_id).then(|| self.progress(stream_id))
    }

    /// What the next reader finds, all records and those that compaction would leave.
    pub fn resolved(&self) -> [ResolvedProgress; 2] {
        let compacted: HashMap<_, _> = self.progress.iter().map(|record| (&record.0, record)).collect();
        let (mut all, mut newest) = (ProgressLog::default(), ProgressLog::default());
        for (log, records) in [
            (&mut all, self.progress.iter().collect::<Vec<_>>()),
            (&mut newest, compacted.into_values().collect()),
        ] {
            for (id, writers, value) in records {
                log.push(id.clone(), writers.clone(), value.as_deref().map(parse));
            }
        }
        [all.resolve(&self.commit), newest.resolve(&self.commit)]
    }

    /// The start of the next reader, which loses nothing, whether the topic was compacted or not.
    fn next_start(&mut self) -> PartitionStart {
        let [all, compacted] = self.resolved();
        for resolved in [&all, &compacted] {
            assert!(resolved.lost.is_empty() && resolved.missing == 0, "{:?}: {resolved:?}", self.commit);
        }
        self.readers += 1;
        PartitionStart {
            offset: self.committed.unwrap_or(0),
            committed: self.commit.clone(),
            writer: format!("reader-{}", self.readers),
            open_streams: if self.readers.is_multiple_of(2) { all.open } else { compacted.open },
            void: all.void,
            transactional: self.is_transactional(),
        }
    }

    /// Returns whether the present reader publishes in transactions.
    fn is_transactional(&self) -> bool {
        match self.delivery {
            Mode::AtLeastOnce => false,
            Mode::ExactlyOnce => true,
            Mode::Alternating => self.readers.is_multiple_of(2),
        }
    }

    /// Publishes the events of a transaction.
    fn publish(&mut self, events: Vec<(Name, Window)>) {
        for (name, window) in events {
            let earlier = self.published.insert(name.clone(), window.clone());
            assert!(
                self.delivery != Mode::Alternating || earlier.is_none_or(|earlier| earlier == window),
                "{name:?} published again is the same"
            );
            self.publications.push((name, window));
        }
    }

    /// Writes the tombstone of a reader that was stopped before it did.
    pub fn write_tombstone(&mut self, stream_id: &str, writer: &str) {
        let writers = RecordWriters { next: Some(writer.to_owned()), acknowledged: None };
        self.progress.push((stream_id.into(), writers, None));
    }

    /// Deletes the progress topic.
    pub fn delete_progress(&mut self) {
        self.progress.clear();
    }

    /// Moves the offset as an administration tool does.
    pub fn reset_offset(&mut self, offset: i64) {
        self.committed = Some(offset);
        self.commit = Committed { offset: Some(offset), ..Committed::default() };
    }

    /// Makes records and commit those of a version that names no writers.
    pub fn forget_writers(&mut self) {
        self.commit.metadata = CommitMetadata::default();
        self.progress.iter_mut().for_each(|(_, writers, _)| *writers = RecordWriters::default());
    }

    fn write(&mut self, part: &PartitionCommit) {
        for (id, progress) in &part.progress {
            self.progress.push((id.clone(), part.writers.clone(), Some(progress.to_json(GROUP))));
        }
    }
}

fn parse(value: &[u8]) -> Progress {
    serde_json::from_slice::<ProgressRecord>(value).unwrap().progress
}

/// The second implementation of the seam: a broker in memory.
struct MemoryDelivery<'a>(&'a mut Broker, BrokerOutcome);

impl Delivery for MemoryDelivery<'_> {
    fn deliver(&mut self, commit: &Commit) -> Result<CommitOutcome, KafkaFault> {
        let Self(broker, outcome) = self;
        for part in &commit.partitions {
            broker.write(part);
            let Some(offset) = part.offset else { continue };
            if *outcome == BrokerOutcome::OffsetLost {
                return Ok(CommitOutcome::Unacknowledged);
            }
            assert!(broker.committed.is_none_or(|before| before <= offset), "the group's offset never falls");
            broker.committed = Some(offset);
            broker.commit = Committed { offset: Some(offset), metadata: part.metadata.clone() };
            if *outcome == BrokerOutcome::AcknowledgementLost {
                return Ok(CommitOutcome::Unacknowledged);
            }
            let tombstone = |id: &Arc<str>| (id.clone(), part.writers.clone(), None);
            broker.progress.extend(part.ended.iter().map(tombstone));
        }
        Ok(CommitOutcome::Acknowledged)
    }
}

/// A reader with one partition, its shard, and a publisher.
pub struct Reader {
    partitions: BTreeMap<i32, Partition>,
    committer: Committer,
    /// Taken from the committer and not delivered yet, with the events of its transaction.
    commit: Option<(Commit, Vec<(Name, Window)>)>,
    /// Events of the next transaction; `None` where each event is published at once.
    transaction: Option<Vec<(Name, Window)>>,
    shards: Shards,
    inbox: mpsc::Receiver<ShardMessage>,
    shard: Shard,
    reports: crossbeam_channel::Receiver<PartitionReport>,
    jobs: mpsc::Receiver<Job<JobOrigin>>,
    states: StreamStates,
    labels: Arc<[String]>,
    /// Windows that are not acknowledged, in order.
    pub pending: Vec<PendingWindow>,
}

/// A window that is not acknowledged.
pub struct PendingWindow {
    ticket: Ticket,
    name: Name,
    published: (Vec<f32>, Vec<f32>),
    state: ChannelState,
}

impl Reader {
    /// Starts a reader at the group's offset, and returns that too.
    pub fn start(setup: &StreamSetup, broker: &mut Broker) -> (Reader, usize) {
        let start = broker.next_start();
        Self::open(setup, start)
    }

    /// Starts a reader that was allowed to begin streams anew whose progress is lost.
    pub fn start_with_void(setup: &StreamSetup, broker: &mut Broker, void: Vec<Arc<str>>) -> (Reader, usize) {
        broker.readers += 1;
        let start = PartitionStart {
            offset: broker.committed.unwrap_or(0),
            committed: broker.commit.clone(),
            writer: format!("reader-{}", broker.readers),
            void,
            ..PartitionStart::default()
        };
        Self::open(setup, start)
    }

    fn open(setup: &StreamSetup, start: PartitionStart) -> (Reader, usize) {
        let (jobs, queue) = mpsc::channel(WINDOWS);
        let (report, reports) = crossbeam_channel::unbounded();
        let (messages, inbox) = mpsc::channel(SHARD_QUEUE);
        let (offset, transaction) = (start.offset, start.transactional.then(Vec::new));
        let timeout = Duration::from_millis(IDLE_MS as u64);
        let assignment = Assignment { partition: 0, number: 1 };
        let partition = Partition::new(assignment, start, timeout, registry(setup, jobs));
        let reader = Reader {
            partitions: [(0, partition)].into(),
            committer: Committer::default(),
            commit: None,
            transaction,
            shards: Shards::from(vec![messages]),
            inbox,
            shard: Shard::new(ReportSender { reports: report }, StreamSinks::default()),
            reports,
            jobs: queue,
            states: StreamStates::default(),
            labels: ["anger".to_owned(), "fear".to_owned()].into(),
            pending: Vec::new(),
        };
        (reader, offset as usize)
    }

    pub fn partition(&mut self) -> &mut Partition {
        self.partitions.get_mut(&0).unwrap()
    }

    /// Reads a record, once the shard has room for those before it.
    pub fn read(&mut self, offset: i64, input: &Input) {
        while !self.send() {
            self.run_shard();
        }
        assert!(self.partition().is_readable());
        let refused = self.partition().take(input.record(), offset, input.timestamp);
        assert!(refused.is_ok(), "{refused:?}");
        self.send();
    }

    /// Reads a record, and lets the shard catch up.
    pub fn take(&mut self, offset: i64, input: &Input) {
        self.read(offset, input);
        self.catch_up();
    }

    fn send(&mut self) -> bool {
        let shards = self.shards.clone();
        self.partition().send(&shards)
    }

    /// Lets the shard handle all that was sent.
    pub fn catch_up(&mut self) {
        while !self.send() {
            self.run_shard();
        }
        self.run_shard();
    }

    fn run_shard(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            self.shard.receive(message);
        }
        while let Ok(report) = self.reports.try_recv() {
            let refused = self.partition().handle_report(report);
            assert!(refused.is_none(), "{refused:?}");
        }
        while let Ok(job) = self.jobs.try_recv() {
            let needs_model = job.needs_model();
            match job.origin {
                JobOrigin::Window(envelope) => {
                    let scored = self.score(*envelope, needs_model.then_some(job.features));
                    self.pending.push(scored);
                }
                JobOrigin::StreamEnd(stream) => self.states.end(&stream),
                JobOrigin::Clip(_) | JobOrigin::CallStream(_) => panic!("no clip and no call"),
            }
        }
    }

    /// In place of the model: scores that depend on the features alone; none for silent windows.
    fn score(&mut self, envelope: WindowEnvelope, features: Option<Vec<f32>>) -> PendingWindow {
        let Recipient::Partition(ticket) = envelope.recipient else { panic!("a window of Kafka") };
        let (channel, index, partial) = (envelope.channel, envelope.index, envelope.partial);
        let of = |features: &Vec<f32>| 1.0 / (1.0 + (-features.iter().sum::<f32>() / 100.0).exp());
        let scores = features.as_ref().map(of).map_or_else(Vec::new, |share| vec![share, 1.0 - share]);
        let raw = RawScores { segment: envelope.segment, labels: &self.labels, scores: &scores };
        let state = self.states.of(&envelope.stream, channel);
        let smoothed = SMOOTHING.smooth_channel(state, raw);
        let name = (envelope.stream.stream_id.to_string(), channel, index, partial);
        let published = (features.unwrap_or_default(), smoothed);
        PendingWindow { ticket, name, published, state: state.clone() }
    }

    /// Acknowledges the first pending window of the channel that the `nth` one belongs to: a channel's windows come in order.
    pub fn acknowledge(&mut self, nth: usize, published: &mut Published) {
        if self.pending.is_empty() {
            return;
        }
        let wanted = self.pending[nth % self.pending.len()].ticket.clone();
        let same = |other: &Ticket| other.stream_id == wanted.stream_id && other.channel == wanted.channel;
        let first = self.pending.iter().position(|window| same(&window.ticket)).unwrap();
        let PendingWindow { ticket, name, published: window, state } = self.pending.remove(first);
        self.partition().handle_report(PartitionReport::Delivered { ticket, state });
        if let Some(transaction) = &mut self.transaction {
            return transaction.push((name, window));
        }
        if let Some(earlier) = published.insert(name.clone(), window.clone()) {
            assert_eq!(earlier, window, "{name:?} published again is the same");
        }
    }

    /// Starts a commit of what has settled, unless one is under way or nothing has.
    pub fn begin_commit(&mut self) {
        if self.commit.is_none() {
            let commit = self.committer.settled(&mut self.partitions);
            let events = self.transaction.as_mut().map(std::mem::take).unwrap_or_default();
            assert!(commit.is_some() || events.is_empty(), "a commit takes the events along");
            self.commit = commit.map(|commit| (commit, events));
        }
    }

    /// Delivers the commit that is under way, if any.
    pub fn finish_commit(&mut self, broker: &mut Broker, outcome: BrokerOutcome) {
        let Some((commit, events)) = self.commit.take() else { return };
        if self.transaction.is_some() && outcome == BrokerOutcome::OffsetLost {
            // The transaction is aborted and tried again.
            self.commit = Some((commit, events));
            return;
        }
        let outcome = MemoryDelivery(broker, outcome).deliver(&commit).unwrap();
        broker.publish(events);
        // The outcome of a transaction is found out.
        let outcome = if self.transaction.is_some() { CommitOutcome::Acknowledged } else { outcome };
        self.committer.complete(&mut self.partitions, commit, outcome);
    }

    /// Delivers the commit that is under way or, without one, what has settled.
    pub fn commit(&mut self, broker: &mut Broker, outcome: BrokerOutcome) {
        self.begin_commit();
        self.finish_commit(broker, outcome);
    }

    /// Ends streams that are idle by the time of the partition's records.
    pub fn end_idle_by_partition_time(&mut self) {
        self.partition().end_idle_by_partition_time();
        self.catch_up();
    }

    /// Lets the broker report, after more than the timeout, that the partition holds nothing more.
    pub fn silence_passes(&mut self) {
        self.silence_lasts(2);
    }

    /// Lets the broker report, after so many timeouts, that the partition holds nothing more.
    pub fn silence_lasts(&mut self, timeouts: u32) {
        let later = Instant::now() + Duration::from_millis(IDLE_MS as u64) * timeouts;
        let end = PartitionEnd { requested_at: later, offset: 0, answering_since: None };
        self.partition().end_reported(end);
    }

    /// Finds every stream silent at the partition's end; the progress of their ends waits for delivery. Returns whether there are any.
    pub fn fall_silent(&mut self, broker: &mut Broker) -> bool {
        self.catch_up();
        for _ in 0..2 {
            // What is under way, then a commit with an unknown outcome.
            self.finish_commit(broker, BrokerOutcome::Acknowledged);
            self.begin_commit();
        }
        self.finish_commit(broker, BrokerOutcome::Acknowledged);
        self.silence_passes();
        self.commit = self.committer.end_idle(&mut self.partitions).map(|commit| (commit, Vec::new()));
        self.commit.is_some()
    }

    /// Lets the next commit close streams that were silent for several timeouts.
    pub fn close_silent(&mut self, timeouts: u32) {
        self.silence_lasts(timeouts);
        assert!(self.committer.end_idle(&mut self.partitions).is_none(), "no segment is open");
    }

    /// Acknowledges every window that is pending.
    pub fn acknowledge_all(&mut self, published: &mut Published) {
        while !self.pending.is_empty() {
            self.acknowledge(0, published);
        }
    }

    /// Returns whether a commit is under way.
    pub fn is_committing(&self) -> bool {
        self.commit.is_some()
    }

    /// Acknowledges and commits all there is.
    fn finish(mut self, broker: &mut Broker) {
        self.catch_up();
        self.acknowledge_all(&mut broker.published);
        // What is under way, then a commit with an unknown outcome, then the last one.
        self.finish_commit(broker, BrokerOutcome::Acknowledged);
        self.commit(broker, BrokerOutcome::Acknowledged);
        self.commit(broker, BrokerOutcome::Acknowledged);
        assert!(self.partition().is_drained());
        let has_committed = broker.committed.unwrap_or(0);
        assert_eq!(has_committed, self.partition().lowest_unsettled(), "all that has settled is committed");
    }
}

fn registry(setup: &StreamSetup, jobs: mpsc::Sender<Job<JobOrigin>>) -> RegistryReceiver {
    let cost = Arc::new(InferenceCost::default());
    let model = ServedModel {
        contract: Arc::new(contract()),
        setup: setup.clone(),
        setup_number: 1,
        jobs,
        share: Arc::new(Semaphore::new(WINDOWS)),
        ahead: Arc::new(Semaphore::new(WINDOWS)),
        backlog: Arc::new(Semaphore::new(WINDOWS)),
        is_only: true,
        utilization: Utilization::new(cost, 1, Duration::from_millis(500)),
        shadows: Vec::new(),
    };
    watch::channel(Arc::new(ModelRegistry::new(vec![Arc::new(model)], Arc::default()))).1
}

/// What happens after a record.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    Acknowledge(usize),
    /// A whole commit.
    Commit,
    /// A commit begins; records follow before its outcome is known.
    BeginCommit,
    FinishCommit(BrokerOutcome),
    /// The shard has not handled the record yet when the next one is read.
    ShardIsSlow,
    /// The reader dies in the middle of a commit.
    CrashInCommit(BrokerOutcome),
    Crash,
}

/// Reads all inputs with as many readers as crash, and returns what they published. After the records in `silences`, the partition is at its end and
/// silent for long.
pub fn run(
    setup: &StreamSetup,
    inputs: &[Input],
    events: &[(usize, Event)],
    silences: &BTreeSet<usize>,
) -> (Published, BTreeSet<usize>) {
    let (broker, silent) = run_as(Mode::AtLeastOnce, setup, inputs, events, silences);
    (broker.published, silent)
}

/// As [`run`], with readers that deliver as `delivery` says; returns the broker.
pub fn run_as(
    delivery: Mode,
    setup: &StreamSetup,
    inputs: &[Input],
    events: &[(usize, Event)],
    silences: &BTreeSet<usize>,
) -> (Broker, BTreeSet<usize>) {
    let (mut broker, mut events) = (Broker { delivery, ..Broker::default() }, events.iter().peekable());
    let mut silent = BTreeSet::new();
    loop {
        let (mut reader, start) = Reader::start(setup, &mut broker);
        let mut crashed = false;
        for (offset, input) in inputs.iter().enumerate().skip(start) {
            reader.read(offset as i64, input);
            let (mut turn, mut slow) = (Vec::new(), false);
            while turn.len() < 3
                && let Some((_, event)) = events.next_if(|(at, _)| (offset + at) % 3 != 0)
            {
                slow |= matches!(event, Event::ShardIsSlow);
                turn.push(*event);
            }
            if !slow {
                reader.catch_up();
            }
            for event in turn {
                crashed |= happens(event, &mut reader, &mut broker);
            }
            // The clock decides once. A replay must not depend on it: there the records come at once.
            if !crashed && silences.contains(&offset) && !silent.contains(&offset) {
                if reader.fall_silent(&mut broker) {
                    silent.insert(offset);
                    reader.finish_commit(&mut broker, BrokerOutcome::Acknowledged);
                    crashed = matches!(events.peek(), Some((_, Event::Crash | Event::CrashInCommit(_))));
                    if crashed {
                        events.next();
                    }
                }
                reader.catch_up();
            }
            if crashed {
                break;
            }
        }
        if !crashed {
            reader.finish(&mut broker);
            return (broker, silent);
        }
    }
}

/// Returns whether the reader crashes.
fn happens(event: Event, reader: &mut Reader, broker: &mut Broker) -> bool {
    match event {
        Event::Acknowledge(nth) => reader.acknowledge(nth, &mut broker.published),
        Event::Commit => reader.commit(broker, BrokerOutcome::Acknowledged),
        Event::BeginCommit => reader.begin_commit(),
        Event::FinishCommit(outcome) => reader.finish_commit(broker, outcome),
        Event::CrashInCommit(outcome) => reader.commit(broker, outcome),
        Event::ShardIsSlow | Event::Crash => {}
    }
    matches!(event, Event::Crash | Event::CrashInCommit(_))
}

/// Which windows are silent, and whether those give an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gating {
    Off,
    SilenceIsDropped,
    SilenceIsPublished,
}

/// The tiny model: 1 s every 0.5 s at 8 kHz.
fn contract() -> Contract {
    model_fixture::contract(Layout::Ntc, Output::Logits)
}

pub fn setup(gating: Gating) -> StreamSetup {
    let (mut contract, config) = (contract(), Config::default());
    if gating != Gating::Off {
        // Voice activity is detected at 16 kHz alone.
        let window = WindowShape { length_samples: 16_000, hop_samples: 8_000 };
        contract =
            Contract { sample_rate_hz: 16_000, window, frames: Some(1 + (16_000 - 256) / 80), ..contract };
    }
    let min_length = Duration::from_millis(500);
    let window = affectd::config::Window { min_length, ..config.window };
    let mode = if gating == Gating::Off { VadMode::Off } else { VadMode::Gate };
    let vad = Vad { mode, publish_silence: gating == Gating::SilenceIsPublished, ..config.vad };
    StreamSetup::new(&contract, &window, &config.audio).unwrap().gated(&contract, &vad).unwrap()
}
