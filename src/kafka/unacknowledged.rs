//! The records that a producer has sent and the brokers have not acknowledged, and those that they refused for now.
//!
//! Input: records that are sent, acknowledged or refused, with the time. Output: what is sent again and when, and for how long nothing was acknowledged.
//! Pure. Invariants: records that were refused are sent again in their first order, by one caller at a time; no new record is sent before they are
//! acknowledged, because it could be accepted where they are refused once more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::outgoing::Outgoing;

/// The first pause before refused records are sent again, and the longest one.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The unacknowledged records of one producer.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    sent: u64,
    /// Records in librdkafka's queues or on their way.
    in_flight: usize,
    /// Those of them, and of the refused ones, that no offset brings back: events of calls.
    of_calls: usize,
    /// Refused records by the order in which they were first sent.
    refused: BTreeMap<u64, Outgoing>,
    pause: Duration,
    retry_at: Instant,
    /// Whether a record was refused since the last round of tries began.
    refused_since_round: bool,
    /// Whether those behind it may still be queued.
    round_is_due: bool,
    /// Whether a caller sends refused records again at this moment.
    in_round: bool,
    /// Whether records were refused and not all of them are acknowledged since: new ones wait.
    recovering: bool,
    /// When a record was last acknowledged, or was sent while there was none.
    progress_at: Instant,
}

impl Unacknowledged {
    pub fn new(now: Instant) -> Self {
        Self {
            sent: 0,
            in_flight: 0,
            of_calls: 0,
            refused: BTreeMap::new(),
            pause: PAUSE,
            retry_at: now,
            refused_since_round: false,
            round_is_due: false,
            in_round: false,
            recovering: false,
            progress_at: now,
        }
    }

    /// Returns the number of a new record; `None` while it must wait for those that were refused.
    pub fn next_number(&mut self) -> Option<u64> {
        if self.recovering {
            return None;
        }
        self.sent += 1;
        Some(self.sent)
    }

    /// Notes that a record was handed to librdkafka.
    pub fn sent(&mut self, of_call: bool, now: Instant) {
        if self.is_empty() {
            self.progress_at = now;
        }
        self.in_flight += 1;
        self.of_calls += usize::from(of_call);
    }

    /// Notes that the outcome of a record is known.
    pub fn returned(&mut self, of_call: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.of_calls = self.of_calls.saturating_sub(usize::from(of_call));
        self.end_recovery();
    }

    fn end_recovery(&mut self) {
        if self.is_empty() {
            self.recovering = false;
        }
    }

    /// Notes that a record was acknowledged.
    pub fn acknowledged(&mut self, now: Instant) {
        self.progress_at = now;
        self.pause = PAUSE;
    }

    /// Keeps a refused record.
    pub fn refuse(&mut self, number: u64, message: Outgoing, now: Instant) {
        if !std::mem::replace(&mut self.refused_since_round, true) {
            self.retry_at = now + self.pause;
            self.pause = (self.pause * 2).min(MAX_PAUSE);
            self.round_is_due = true;
        }
        self.recovering = true;
        self.put_back(number, message);
    }

    /// Returns whether records were refused since the last call.
    pub fn begin_round(&mut self) -> bool {
        std::mem::take(&mut self.round_is_due)
    }

    /// Begins a round: returns the next record to be sent again. `None` while there is none, the pause lasts, the outcome of other records is not known, each of
    /// which may have to be sent before it, or another caller's round has not ended.
    pub fn next_retry(&mut self, now: Instant) -> Option<(u64, Outgoing)> {
        if self.in_flight > 0 || self.in_round || now < self.retry_at {
            return None;
        }
        let first = self.pop_refused();
        self.in_round = first.is_some();
        self.refused_since_round &= first.is_none();
        first
    }

    /// Notes that a round has ended, with or without an error.
    pub fn end_round(&mut self) {
        self.in_round = false;
        self.end_recovery();
    }

    /// Returns the next record of a round that has begun. A record that may have been too large for its batch alone is sent alone. Once a record is refused
    /// again, the others wait for the next round.
    pub fn next_of_round(&mut self) -> Option<(u64, Outgoing)> {
        let alone = self.refused.first_key_value().is_some_and(|(_, message)| message.suspect);
        if alone || self.refused_since_round { None } else { self.pop_refused() }
    }

    fn pop_refused(&mut self) -> Option<(u64, Outgoing)> {
        let (number, message) = self.refused.pop_first()?;
        self.of_calls = self.of_calls.saturating_sub(usize::from(message.is_of_call()));
        Some((number, message))
    }

    /// Puts back a record that the producer had no room for.
    pub fn put_back(&mut self, number: u64, message: Outgoing) {
        self.of_calls += usize::from(message.is_of_call());
        self.refused.insert(number, message);
    }

    /// Returns whether records wait to be sent again.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Returns whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.refused.is_empty() && !self.in_round
    }

    /// Returns the number of events of calls that are not acknowledged.
    pub fn of_calls(&self) -> usize {
        self.of_calls
    }

    /// Returns for how long nothing was acknowledged although something should be.
    pub fn stalled_for(&self, now: Instant) -> Option<Duration> {
        (!self.is_empty()).then(|| now.saturating_duration_since(self.progress_at))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::OwnedHeaders;

    use super::*;
    use crate::kafka::outgoing::{Content, Settlement};

    fn message() -> Outgoing {
        Outgoing {
            topic: "events".to_owned(),
            key: None,
            value: None,
            headers: OwnedHeaders::new(),
            settlement: Box::new(Settlement::Nothing),
            content: Content::Event,
            suspect: false,
        }
    }

    /// Sends the record again as soon as its pause is over, and returns the pause.
    fn pause(records: &mut Unacknowledged, now: &mut Instant) -> Duration {
        let before = *now;
        records.refuse(1, message(), before);
        while records.next_retry(*now).is_none() {
            *now += Duration::from_millis(1);
        }
        records.end_round();
        *now - before
    }

    /// Sends a new record.
    fn send(records: &mut Unacknowledged, now: Instant) -> Option<u64> {
        let number = records.next_number()?;
        records.sent(false, now);
        Some(number)
    }

    /// Refuses a record that is in flight.
    fn refuse(records: &mut Unacknowledged, number: u64, now: Instant) {
        records.refuse(number, message(), now);
        records.returned(false);
    }

    #[test]
    fn new_records_wait_until_those_that_were_refused_are_acknowledged() {
        let start = Instant::now();
        let mut records = Unacknowledged::new(start);
        for number in [1, 2] {
            assert_eq!(send(&mut records, start), Some(number));
        }
        refuse(&mut records, 2, start);
        assert_eq!(send(&mut records, start), None);
        let later = start + PAUSE;
        assert!(
            records.next_retry(later).is_none(),
            "the first record may have to be sent before the second"
        );
        refuse(&mut records, 1, start);
        let next = |record: Option<(u64, Outgoing)>| record.map(|(number, _)| number);
        assert_eq!(next(records.next_retry(later)), Some(1));
        assert!(records.next_retry(later).is_none(), "one caller sends them, in their order");
        assert!(!records.is_empty() && send(&mut records, later).is_none(), "one is in the caller's hands");
        records.sent(false, later);
        assert_eq!(next(records.next_of_round()), Some(2));
        records.sent(false, later);
        assert!(records.next_of_round().is_none());
        records.end_round();
        assert_eq!(send(&mut records, later), None, "they may be refused again where a later one is not");
        records.returned(false);
        assert_eq!(send(&mut records, later), None);
        records.returned(false);
        assert_eq!(send(&mut records, later), Some(3));
    }

    #[test]
    fn a_round_ends_with_a_record_that_is_refused_again_and_the_pause_follows() {
        let start = Instant::now();
        let mut records = Unacknowledged::new(start);
        for number in [1, 2] {
            send(&mut records, start);
            refuse(&mut records, number, start);
        }
        let later = start + PAUSE;
        let (number, again) = records.next_retry(later).unwrap();
        // Refused at once: the topic is not there.
        records.refuse(number, again, later);
        assert!(records.next_of_round().is_none());
        records.end_round();
        assert!(records.next_retry(later + PAUSE * 2 - Duration::from_millis(1)).is_none());
        assert_eq!(records.next_retry(later + PAUSE * 2).unwrap().0, 1);
        assert_eq!(records.next_of_round().unwrap().0, 2);
    }

    #[test]
    fn new_records_are_sent_where_a_round_gives_its_record_up() {
        let start = Instant::now();
        let mut records = Unacknowledged::new(start);
        send(&mut records, start);
        refuse(&mut records, 1, start);
        assert!(records.next_retry(start + PAUSE).is_some());
        records.sent(false, start);
        records.returned(false);
        records.end_round();
        assert_eq!(send(&mut records, start), Some(2));
    }

    #[test]
    fn pauses_grow_up_to_a_limit_until_a_record_is_acknowledged() {
        let mut now = Instant::now();
        let mut records = Unacknowledged::new(now);
        let pauses: Vec<Duration> = (0..10).map(|_| pause(&mut records, &mut now)).collect();
        assert_eq!(pauses[0], PAUSE);
        assert!(pauses.windows(2).all(|two| two[1] == (two[0] * 2).min(MAX_PAUSE)), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&MAX_PAUSE));
        records.acknowledged(now);
        assert_eq!(pause(&mut records, &mut now), PAUSE);
    }
}
