//! A reader with one partition: the real partition, committer and shard, and a publisher in place of the model.
//!
//! Input: records, acknowledgements, commits and silence. Output: windows that wait for their acknowledgement, and commits to the broker.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use affectd::batch::{InferenceCost, Job};
use affectd::config::{Smoothing, SmoothingMethod};
use affectd::kafka::{Commit, CommitOutcome, Committer, Delivery, Partition, PartitionEnd, PartitionStart};
use affectd::publish::smoothing::RawScores;
use affectd::publish::stream_states::StreamStates;
use affectd::serving::{
    Decoders, JobOrigin, ModelRegistry, Recipient, RegistryReceiver, ServedModel, StreamSinks, Utilization,
    WindowEnvelope,
};
use affectd::shard::{PartitionReport, ReportSender, Shard, ShardMessage, Shards};
use affectd::stream::{Assignment, ChannelState, MemoryBudget, StreamSetup, Ticket};
use tokio::sync::{Semaphore, mpsc, watch};

use super::broker::{Broker, BrokerOutcome, MemoryDelivery};
use super::input::{Input, contract};
use super::{IDLE_MS, Name, Published, Window};

const SMOOTHING: Smoothing = Smoothing { method: SmoothingMethod::Exponential, windows: 4 };
/// Messages that the shard has room for: the second one of a record with an idle end waits in the partition.
const SHARD_QUEUE: usize = 1;
/// More windows than any of the tests has.
const WINDOWS: usize = 1 << 14;

/// Decode the files of all readers.
static DECODERS: LazyLock<Decoders> =
    LazyLock::new(|| Decoders::start(MemoryBudget::new(1 << 24), Duration::from_secs(60)).unwrap());

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
        let memory = DECODERS.budget();
        let partition = Partition::new(assignment, start, timeout, registry(setup, jobs), memory);
        let reader = Reader {
            partitions: [(0, partition)].into(),
            committer: Committer::default(),
            commit: None,
            transaction,
            shards: Shards::from(vec![messages]),
            inbox,
            shard: Shard::new(ReportSender { reports: report }, StreamSinks::default(), DECODERS.clone()),
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
        self.shard.decode_files();
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
        let Some((mut commit, events)) = self.commit.take() else { return };
        if self.transaction.is_some() && outcome == BrokerOutcome::OffsetLost {
            // The transaction is aborted and tried again.
            self.commit = Some((commit, events));
            return;
        }
        let outcome = MemoryDelivery(broker, outcome).deliver(&mut commit).unwrap();
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
    pub(super) fn finish(mut self, broker: &mut Broker) {
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
