//! Whether Kafka can be worked with, for `/readyz`, and the requests that find it out.
//!
//! Input: the answers of the brokers, and what waits for an acknowledgement. Output: the condition "kafka" of the readiness. Invariant: the condition is
//! unmet while something has waited for longer than `kafka.unready_after`, and met again as soon as it goes on.

use std::time::Instant;

use super::reader::Reader;

impl Reader {
    /// Requests the ends of all partitions, where a stream may end by wall time or nothing was requested for some seconds.
    pub(super) fn request_ends(&mut self) {
        let now = Instant::now();
        let needed = self.partitions.values().any(|partition| partition.needs_end(now));
        self.ends.request(self.partitions.keys().copied(), needed);
    }

    /// Reports whether Kafka can be worked with.
    pub(super) fn report_readiness(&mut self) {
        let readiness = &self.links.readiness;
        match self.waits_for() {
            Some(reason) => {
                let after = self.kafka.unready_after;
                readiness.unmet("kafka", format!("{reason} for more than {after:?}"));
                self.unready = true;
            }
            None if self.assignments == 0 => {
                readiness.unmet("kafka", format!("joining the group {}", self.kafka.group_id));
            }
            None if self.unready => {
                readiness.met("kafka");
                self.unready = false;
            }
            None => {}
        }
    }

    /// Returns what has not come for longer than `kafka.unready_after`.
    fn waits_for(&self) -> Option<String> {
        let after = self.kafka.unready_after;
        if self.ends.away_for().is_some_and(|away| away > after) {
            return Some(format!("no answer from the brokers {}", self.kafka.brokers));
        }
        if self.links.producer.stalled_for().is_some_and(|stalled| stalled > after) {
            return Some("no acknowledgement of events and dead letters".to_owned());
        }
        let commit_is_late = self.committer.is_under_way() && self.commit_started.elapsed() > after;
        commit_is_late.then(|| format!("no acknowledgement of the commit of group {}", self.kafka.group_id))
    }
}
