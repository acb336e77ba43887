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
    pub(super) fn collect_transaction(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        for (messages, reports) in std::iter::from_fn(|| transaction.next_messages()).collect::<Vec<_>>() {
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
    }

    /// Starts a commit if the last one was long enough ago, or the transaction is full.
    pub(super) fn commit_when_due(&mut self) -> Result<(), KafkaFault> {
        let interval = match &self.transaction {
            Some(transaction) if transaction.is_full() => Duration::ZERO,
            Some(_) => self.kafka.transaction_interval,
            None => self.kafka.commit_interval,
        };
        if self.committed.elapsed() > interval && !self.committer.is_under_way() {
            self.start_commit()?;
            self.committed = Instant::now();
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
