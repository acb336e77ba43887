//! The clock of a partition: how much time its records show to have passed, whatever their timestamps are.
//!
//! Input: each record's timestamp and that of its stream before. Output: a time in ms that only rises, of which only differences count. Pure: a replay of
//! the same records gives the same differences. Invariants: timestamps of different streams are never compared, so a stream whose timestamps are wrong
//! by a constant has no effect on others; one record advances the clock by at most a small part of the idle timeout.
//!
//! A stream that fell silent is idle once the others have gone on for the timeout. The time since then is the longest way that one of them has advanced by
//! its own timestamps. The highest timestamp of the partition was rejected: one record with a wrong timestamp would end every other stream.

use std::time::Duration;

/// The most by which one record advances the clock, in ms, and the part of the idle timeout that it must not exceed.
const MAX_ADVANCE_MS: i64 = 1_000;
const MAX_PART: i64 = 8;

/// When a stream was last read, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadAt {
    /// The highest timestamp of its records, in ms; the lowest number where it has none.
    pub timestamp: i64,
    /// The partition's clock at its last record, in ms.
    pub clock: i64,
}

impl Default for ReadAt {
    /// Before the first record of a stream.
    fn default() -> Self {
        Self { timestamp: i64::MIN, clock: 0 }
    }
}

/// The clock of one partition.
#[derive(Debug)]
pub(super) struct PartitionClock {
    now: i64,
    idle_ms: i64,
}

impl PartitionClock {
    /// Returns a clock that stands at `now`, in ms. A stream is idle after `idle_timeout`.
    pub fn new(now: i64, idle_timeout: Duration) -> Self {
        Self { now, idle_ms: i64::try_from(idle_timeout.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Returns the time, in ms.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Notes a record of a stream that was last read at `last`, and returns when it was read.
    pub fn read(&mut self, last: ReadAt, timestamp: i64) -> ReadAt {
        if last.timestamp == i64::MIN {
            return ReadAt { timestamp, clock: self.now };
        }
        let own = timestamp.saturating_sub(last.timestamp);
        // A pause of the stream, or a jump of its timestamps, shows nothing about the time that has passed here.
        let advance = if (1..=self.idle_ms).contains(&own) {
            own.min(MAX_ADVANCE_MS).min(self.idle_ms / MAX_PART)
        } else {
            0
        };
        self.now = self.now.max(last.clock.saturating_add(advance));
        ReadAt { timestamp: last.timestamp.max(timestamp), clock: self.now }
    }

    /// Returns whether a stream is idle that was last read at `last`.
    pub fn is_idle(&self, last: ReadAt) -> bool {
        self.now.saturating_sub(last.clock) > self.idle_ms
    }

    /// Returns whether a stream was idle before its record with `timestamp`: by its own timestamps, or by this clock.
    pub fn was_idle(&self, last: ReadAt, timestamp: i64) -> bool {
        last.timestamp != i64::MIN && timestamp.saturating_sub(last.timestamp) > self.idle_ms
            || self.is_idle(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    /// Reads a stream every 100 ms and returns when it was last read.
    fn talk(clock: &mut PartitionClock, last: ReadAt, from: i64, chunks: i64) -> ReadAt {
        (0..chunks).fold(last, |last, number| clock.read(last, from + 100 * number))
    }

    #[test]
    fn a_stream_is_idle_once_another_has_gone_on_for_the_timeout() {
        let mut clock = PartitionClock::new(0, IDLE);
        let silent = clock.read(ReadAt::default(), 5);
        let other = talk(&mut clock, ReadAt::default(), 900_000, 300);
        assert!(!clock.is_idle(silent), "29.9 s");
        talk(&mut clock, other, 930_000, 2);
        assert!(clock.is_idle(silent), "30.1 s");
        assert!(clock.was_idle(silent, 105), "also where its own timestamps do not show it");
    }

    #[test]
    fn a_stream_is_idle_by_its_own_timestamps_alone() {
        let mut clock = PartitionClock::new(0, IDLE);
        let last = clock.read(ReadAt::default(), 1_000);
        assert!(!clock.was_idle(last, 31_000));
        assert!(clock.was_idle(last, 31_001));
        assert!(!clock.was_idle(last, i64::MIN), "a timestamp in the past");
    }

    #[test]
    fn wrong_timestamps_of_one_stream_end_no_other() {
        for wrong in [600_000, i64::MAX, i64::MIN, 0, -600_000] {
            let mut clock = PartitionClock::new(0, IDLE);
            let good = talk(&mut clock, ReadAt::default(), 1_000_000, 10);
            let bad = clock.read(ReadAt::default(), 1_000_900);
            // Once, then back, then for ever.
            let bad = clock.read(bad, 1_000_900_i64.saturating_add(wrong));
            assert!(!clock.was_idle(good, 1_001_000), "{wrong}");
            let bad = clock.read(bad, 1_001_000);
            let bad = (0..10).fold(bad, |bad, _| clock.read(bad, 1_001_000_i64.saturating_add(wrong)));
            assert!(!clock.was_idle(good, 1_001_100), "{wrong}");
            // Timestamps that advance ten times too fast.
            (0..20).fold(bad, |bad, number| clock.read(bad, wrong.saturating_add(1_000 * number)));
            assert!(!clock.was_idle(good, 1_003_000), "{wrong}");
        }
    }
}
