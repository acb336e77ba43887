//! The commits of the reader: when one is due, what it takes along, and what follows its outcome.
//!
//! Input: what has settled, records that wait for a transaction, outcomes. Output: commits for the delivery thread. Invariants: the reader's thread waits for
//! nothing here; a transaction names the member of the group as it was while all of its partitions were assigned.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::commit::{Commit, CommitOutcome, GroupMember};
use super::fault::KafkaFault;
use super::reader::Reader;

/// The first pause before an aborted transaction is tried again, and the longest one.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

impl Reader {
    /// Notes the outcomes of commits, and tries an aborted one again.
    pub(super) fn handle_delivered(&mut self) -> Result<(), KafkaFault> {
        while let Some((commit, outcome)) = self.delivery.delivered()? {
            match outcome {
                CommitOutcome::Refused => self.retry = Some((commit, Instant::now())),
                CommitOutcome::Aborted => {
                    let waits = self.draining || !self.leaving.is_empty();
                    let pause = if waits { FIRST_RETRY } else { self.retry_pause };
                    self.retry = Some((commit, Instant::now() + pause));
                    self.retry_pause = (self.retry_pause * 2).min(LONGEST_RETRY);
                }
                _ => {
                    self.retry_pause = FIRST_RETRY;
                    self.committer.complete(&mut self.partitions, commit, outcome);
                }
            }
        }
        if let Some((mut commit, _)) = self.retry.take_if(|(_, at)| *at <= Instant::now()) {
            let assigned = |at| self.partitions.values().any(|partition| partition.assignment() == at);
            commit.retain(assigned);
            if commit.partitions.is_empty() {
                self.committer.give_up();
            } else {
                self.deliver(Some(commit))?;
            }
        }
        Ok(())
    }

    /// Brings a further try of an aborted commit forward, because partitions wait for it.
    pub(super) fn hasten_retry(&mut self) {
        if let Some((_, at)) = &mut self.retry {
            *at = (*at).min(Instant::now() + FIRST_RETRY);
        }
    }

    /// Takes events of partitions into the transaction. From then on their windows count as delivered, because the commit that settles them has them.
    ///
    /// A shard reports each window before it submits it, but through another channel than that of its event. So the reports are handled between the two
    /// steps here: a window whose submission was noted after its delivery would wait for a delivery for ever, and hold the offset of its partition.
    pub(super) fn collect_transaction(&mut self) -> Result<(), KafkaFault> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        let taken: Vec<_> = std::iter::from_fn(|| transaction.next_messages()).collect();
        self.handle_reports()?;
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        for (messages, reports) in taken {
            let mut current = None;
            for report in reports {
                let Some(assignment) = report.assignment() else { continue };
                let partition = self.partitions.get_mut(&assignment.partition);
                if let Some(partition) = partition.filter(|found| found.assignment() == assignment) {
                    // The report of an event refuses no record.
                    let _ = partition.handle_report(report);
                    current = Some(assignment);
                }
            }
            if let Some(assignment) = current {
                messages.into_iter().for_each(|message| transaction.push(assignment, message));
            }
        }
        while let Some((ticket, message)) = self.dead_letters.pop() {
            let assignment = ticket.assignment;
            let partition = self.partitions.get_mut(&assignment.partition);
            if let Some(partition) = partition.filter(|found| found.assignment() == assignment) {
                let _ = partition.handle_report(crate::shard::PartitionReport::DeadLetterDelivered(ticket));
                transaction.push(assignment, message);
            }
        }
        Ok(())
    }

    /// Starts a commit if the last one was long enough ago, or the transaction is full.
    pub(super) fn commit_when_due(&mut self) -> Result<(), KafkaFault> {
        let interval = match &self.transaction {
            Some(transaction) if transaction.is_full() => Duration::ZERO,
            Some(_) => self.kafka.transaction_interval,
            None => self.kafka.commit_interval,
        };
        if self.commit_checked.elapsed() > interval && !self.committer.is_under_way() {
            self.start_commit()?;
            self.commit_checked = Instant::now();
        }
        Ok(())
    }

    /// Starts a commit of what has settled, where none is under way.
    pub(super) fn start_commit(&mut self) -> Result<(), KafkaFault> {
        let mut commit = self.committer.settled(&mut self.partitions);
        if let (Some(commit), Some(transaction)) = (&mut commit, &mut self.transaction) {
            commit.records = transaction.take();
        }
        self.begin_commit(commit)
    }

    /// Hands a new commit to the delivery thread, where there is one.
    pub(super) fn begin_commit(&mut self, commit: Option<Commit>) -> Result<(), KafkaFault> {
        if commit.is_some() {
            // Not at a further try: the time counts until the commit is acknowledged.
            self.commit_started = Instant::now();
        }
        self.deliver(commit)
    }

    /// Hands a commit to the delivery thread. A transaction of partitions that were lost is left to be given up with them.
    fn deliver(&mut self, commit: Option<Commit>) -> Result<(), KafkaFault> {
        let Some(mut commit) = commit else { return Ok(()) };
        if self.transaction.is_some() {
            commit.member = self.consumer.group_metadata().map(GroupMember);
            // Checked after the member was read: a member that was excluded has no generation, and the coordinator would accept its offsets.
            if commit.member.is_none() || self.consumer.assignment_lost() {
                self.retry = Some((commit, Instant::now() + FIRST_RETRY));
                return Ok(());
            }
        }
        self.delivery.deliver(commit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::mocking::MockCluster;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::audio::{AudioFormat, Encoding};
    use crate::kafka::outgoing::{ForTransaction, Settlement};
    use crate::kafka::partition::{Partition, PartitionStart};
    use crate::kafka::producer::EventProducer;
    use crate::kafka::reader::ReaderLinks;
    use crate::kafka::{Options, event_channel};
    use crate::serving::SettledWindow;
    use crate::shard::{ChunkAccepted, PartitionReport, Shards};
    use crate::stream::{Assignment, ChannelState, MemoryBudget, StreamInfo, Ticket};
    use crate::telemetry::Readiness;
    use crate::window::WindowSpan;

    const ASSIGNMENT: Assignment = Assignment { partition: 0, number: 1 };
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// What shards and the sink send to a reader.
    struct Senders {
        reports: crossbeam_channel::Sender<PartitionReport>,
        events: crossbeam_channel::Sender<ForTransaction>,
    }

    /// A reader with one partition that publishes in transactions.
    fn reader(cluster: &MockCluster<'_, impl rdkafka::client::ClientContext>) -> (Reader, Senders) {
        let kafka = Options::new(&cluster.bootstrap_servers());
        let ((report, reports), (event, events)) = (crossbeam_channel::bounded(16), event_channel());
        let (registries, memory) = (watch::channel(Arc::default()).1, MemoryBudget::new(1));
        let links = ReaderLinks {
            shards: Shards::from(vec![mpsc::channel(1).0]),
            registries: registries.clone(),
            memory: memory.clone(),
            reports,
            producer: EventProducer::new(&kafka, None, report.clone()).unwrap(),
            events: Some(events),
            readiness: Readiness::starting(&[]),
            idle_timeout: TIMEOUT,
            grace_period: TIMEOUT,
            revoke_timeout: TIMEOUT,
        };
        let mut reader = Reader::new(&kafka, links).unwrap();
        let start = PartitionStart { transactional: true, ..PartitionStart::default() };
        let partition = Partition::new(ASSIGNMENT, start, TIMEOUT, registries, &memory);
        reader.partitions.insert(0, partition);
        (reader, Senders { reports: report, events: event })
    }

    #[test]
    fn a_window_whose_event_overtakes_the_report_of_its_submission_holds_no_offset() {
        let cluster = MockCluster::new(1).unwrap();
        let (mut reader, senders) = reader(&cluster);
        let stream_id: Arc<str> = "call".into();
        let span = WindowSpan { length: Duration::from_secs(1), hop: Duration::from_secs(1) };
        reader.partitions.get_mut(&0).unwrap().tracker.record_read(0, Some((&stream_id, span)), 0);
        let ticket = Ticket {
            assignment: ASSIGNMENT,
            stream_id: stream_id.clone(),
            epoch: 0,
            channel: 0,
            index: 0,
            needed_from: 0,
        };
        // The shard reports, the model runs and the sink publishes between two steps of the reader's thread.
        senders.reports.send(PartitionReport::WindowSubmitted(ticket.clone())).unwrap();
        let accepted = ChunkAccepted {
            assignment: ASSIGNMENT,
            stream_id: stream_id.clone(),
            offset: 0,
            before: None,
            after: None,
            end: (0, 8_000),
            info: Arc::new(StreamInfo { stream_id, ..StreamInfo::default() }),
            format: AudioFormat::new(Encoding::PcmS16Le, 8_000, 1).unwrap(),
        };
        senders.reports.send(PartitionReport::ChunkAccepted(Box::new(accepted))).unwrap();
        let settlement = Settlement::Window(SettledWindow { ticket, state: ChannelState::default() });
        senders.events.send(ForTransaction { messages: Vec::new(), settlement }).unwrap();
        reader.collect_transaction().unwrap();
        reader.handle_reports().unwrap();
        let partition = &reader.partitions[&0];
        assert!(partition.is_drained(), "no window waits for a delivery");
        assert_eq!(partition.lowest_unsettled(), 1);
    }
}
