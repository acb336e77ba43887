//! Joins the group again where the consumer protocol (KIP-848) needs it: after a heartbeat that has timed out, and where librdkafka gives a consumer up that
//! the brokers do not accept for now.
//!
//! Input: how many requests to the group's coordinator have timed out, and the fault that ended a reader. Output: a new membership. Invariant: no partition
//! remains without a reader, or with a reader that is to release it, because one answer of the coordinator was lost.
//!
//! The coordinator sends a change of a member's partitions in the answer to one heartbeat. A member that did not receive the answer has to send all that it
//! has, and then gets the partitions again. librdkafka 2.12 does so after a lost connection, and not after a timeout, which is one interval of the heartbeats:
//! a coordinator that is slow for as long while partitions move leaves some of them without a reader. It sends all that it has when it joins, too.

use std::time::{Duration, Instant};

use rdkafka::Statistics;
use rdkafka::consumer::Consumer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::reader::Reader;
use crate::shard::{PartitionReport, ShardMessage};
use crate::stream::Assignment;

/// The shortest time between two joins.
const PAUSE: Duration = Duration::from_secs(20);
/// The first pause before a join that another member is in the way of, and the longest one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a request to stop may go unseen.
const STOP_SLICE: Duration = Duration::from_millis(50);
/// librdkafka's name of the connection to the group's coordinator.
const COORDINATOR: &str = "GroupCoordinator";

/// Shards that have no room yet for the message that a partition was released.
pub(super) type PendingForgets = Vec<(mpsc::Sender<ShardMessage>, Assignment)>;

/// The requests to the group's coordinator, as librdkafka's statistics have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CoordinatorRequests {
    /// Those that have timed out, since the start.
    timeouts: u64,
    /// Whether no partitions are about to be assigned or revoked.
    steady: bool,
}

impl CoordinatorRequests {
    /// Returns what the statistics of a consumer contain.
    pub fn of(statistics: &Statistics) -> Self {
        let coordinator = statistics.brokers.get(COORDINATOR);
        Self {
            timeouts: coordinator.map_or(0, |broker| broker.req_timeouts),
            steady: statistics.cgrp.as_ref().is_some_and(|group| group.join_state == "steady"),
        }
    }
}

/// Decides when the group is joined again.
#[derive(Debug)]
pub(super) struct Rejoin {
    /// Whether the group has the consumer protocol.
    enabled: bool,
    timeouts: u64,
    due: bool,
    last: Option<Instant>,
}

impl Rejoin {
    pub fn new(kafka: &Options) -> Self {
        let protocol = kafka.properties.get("group.protocol");
        let enabled = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("consumer"));
        Self { enabled, timeouts: 0, due: false, last: None }
    }

    /// Notes new statistics, and returns whether the group is to be joined again now.
    fn is_due(&mut self, requests: CoordinatorRequests, now: Instant) -> bool {
        self.due |= self.enabled && requests.timeouts > self.timeouts;
        self.timeouts = requests.timeouts;
        let paused = self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE);
        if !self.due || !requests.steady || paused {
            return false;
        }
        (self.due, self.last) = (false, Some(now));
        true
    }
}

impl Reader {
    /// Reads until `stop` is cancelled, then drains.
    ///
    /// With the consumer protocol librdkafka gives a consumer up that the brokers do not accept as a member. That may pass: a process that was killed remains a
    /// member until its session has timed out, and another one with its `kafka.instance_id` is refused meanwhile. So new consumers try to join until one can.
    ///
    /// # Errors
    /// See [`KafkaFault`]; nothing unsettled was committed, so a restart reads it again.
    pub fn run(self, stop: &CancellationToken) -> Result<(), KafkaFault> {
        let (kafka, links) = (self.kafka.clone(), self.links.clone());
        let (mut reader, mut wait) = (self, FIRST_WAIT);
        loop {
            let Err(fault) = reader.read(stop) else { return Ok(()) };
            if !fault.may_join_later() {
                return Err(fault);
            }
            outage::report_apart(
                "group",
                &format!("{fault}; a new consumer tries to join the group {}", kafka.group_id),
            );
            links.readiness.unmet("kafka", format!("joining the group {}", kafka.group_id));
            let (assignments, forgets) = reader.end();
            let until = Instant::now() + wait;
            while Instant::now() < until {
                if stop.is_cancelled() {
                    return Ok(());
                }
                // Reports are received, so that no shard waits for room among them, and dropped, because the
                // partitions are read again. The failure of a stage is not repeated and ends this reader, too.
                if let Ok(PartitionReport::Failed(fault)) = links.reports.recv_timeout(STOP_SLICE) {
                    return Err(KafkaFault::Stage(fault));
                }
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            reader = Self::new(&kafka, links.clone())?;
            (reader.assignments, reader.pending_forgets) = (assignments, forgets);
        }
    }

    /// Ends a reader whose consumer cannot go on. Returns what the next one needs: how many partitions were assigned, so that no assignment has the number of
    /// an earlier one, and the shards that are still to drop streams.
    fn end(mut self) -> (u64, PendingForgets) {
        let numbers: Vec<i32> = self.partitions.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.forget_partition(number));
        (self.assignments, std::mem::take(&mut self.pending_forgets))
    }

    /// Leaves the group and joins it again, where an answer of its coordinator may have been lost. Streams go on as after any other rebalance.
    pub(super) fn rejoin_when_due(&mut self, requests: CoordinatorRequests) -> Result<(), KafkaFault> {
        let is_rebalancing = self.draining || self.loading.is_some() || !self.leaving.is_empty();
        let requests = CoordinatorRequests { steady: requests.steady && !is_rebalancing, ..requests };
        if !self.rejoin.is_due(requests, Instant::now()) {
            return Ok(());
        }
        tracing::warn!(
            group = self.kafka.group_id,
            "a request to the coordinator of the group timed out, and its answer may have assigned partitions: the group is joined again"
        );
        self.consumer.unsubscribe();
        let topic = &self.kafka.input_topic;
        self.consumer.subscribe(&[topic]).map_err(broker(&self.kafka, format!("subscribe to {topic}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(timeouts: u64, steady: bool) -> CoordinatorRequests {
        CoordinatorRequests { timeouts, steady }
    }

    #[test]
    fn the_group_is_joined_again_once_for_timeouts_and_not_while_partitions_move() {
        let mut kafka = Options::new("localhost:9092");
        let mut classic = Rejoin::new(&kafka);
        kafka.properties.insert("group.protocol".to_owned(), "Consumer".to_owned());
        let (mut rejoin, now) = (Rejoin::new(&kafka), Instant::now());
        assert!(!classic.is_due(requests(1, true), now), "librdkafka repeats all that matters");
        assert!(!rejoin.is_due(requests(0, true), now));
        assert!(!rejoin.is_due(requests(1, false), now));
        assert!(rejoin.is_due(requests(1, true), now), "as soon as it may");
        assert!(!rejoin.is_due(requests(1, true), now));
        assert!(!rejoin.is_due(requests(2, true), now + PAUSE / 2));
        assert!(rejoin.is_due(requests(2, true), now + PAUSE));
    }
}
