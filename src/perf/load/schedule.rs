//! The schedule of a stream: the due time of each chunk, and which chunk is the last.
//!
//! Input: the start, the pace and the duration of a stream. Output: instants. Invariants: due times are absolute, so that
//! delays do not accumulate.

use std::time::Duration;

use tokio::time::Instant;

use super::speech::Speech;
use crate::client::Pace;

/// The time that a stream may overrun where the daemon accepts its audio more slowly than it is due.
const LONGEST_OVERRUN: Duration = Duration::from_secs(5);
/// The schedule of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// The start of the stream's audio.
    pub start: Instant,
    /// The speed of the stream.
    pub pace: Pace,
    /// The wall-clock time that the stream sends for.
    pub duration: Duration,
}

impl Schedule {
    /// Creates the schedule of the stream at `share` (0 to 1) of all streams of a run, whose starts are spread over `ramp` of their audio.
    pub fn of_stream(&self, ramp: Duration, share: f64) -> Self {
        let offset = self.pace.due(ramp).map_or(Duration::ZERO, |ramp| ramp.mul_f64(share));
        Self { start: self.start + offset, ..*self }
    }

    /// Returns the due time of chunk `index`, which is the end of its audio; `None` means immediately.
    pub fn due(&self, speech: &Speech, index: u64) -> Option<Instant> {
        Some(self.start + self.pace.due(speech.length_of(index + 1))?)
    }

    /// Returns whether chunk `index`, sent at `now`, is the last one.
    pub fn is_last(&self, speech: &Speech, index: u64, now: Instant) -> bool {
        match self.due(speech, index + 1) {
            Some(next) => next > self.start + self.duration || now > self.end() + LONGEST_OVERRUN,
            None => now >= self.end(),
        }
    }

    /// Returns the end of the stream's time.
    pub fn end(&self) -> Instant {
        self.start + self.duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Encoding;

    fn speech() -> Speech {
        Speech::new(&[vec![0.5; 16_000]], 16_000, Encoding::PcmS16le, Duration::from_millis(100))
    }

    #[tokio::test(start_paused = true)]
    async fn at_real_time_a_stream_sends_what_fits_into_its_seconds() {
        let (start, speech) = (Instant::now(), speech());
        let duration = Duration::from_millis(1_250);
        let run = Schedule { start, pace: Pace::REAL_TIME, duration };
        let third = run.of_stream(Duration::from_secs(4), 0.5);
        assert_eq!(third.start, start + Duration::from_secs(2));
        assert_eq!(third.due(&speech, 0), Some(third.start + Duration::from_millis(100)));
        let last = (0..).find(|index| third.is_last(&speech, *index, start));
        assert_eq!(last, Some(11), "1.2 s are twelve chunks");
        let late = third.end() + LONGEST_OVERRUN + Duration::from_millis(1);
        assert!(third.is_last(&speech, 3, late), "a stream that is slowed down by flow control also ends");
    }

    #[tokio::test(start_paused = true)]
    async fn at_full_speed_a_stream_ends_by_time() {
        let (start, speech) = (Instant::now(), speech());
        let run = Schedule { start, pace: Pace::Max, duration: Duration::from_secs(2) };
        let schedule = run.of_stream(Duration::from_secs(1), 0.75);
        assert_eq!((schedule.start, schedule.due(&speech, 7)), (start, None));
        assert!(!schedule.is_last(&speech, 9_999, start + Duration::from_millis(1_999)));
        assert!(schedule.is_last(&speech, 0, start + Duration::from_secs(2)));
    }
}
