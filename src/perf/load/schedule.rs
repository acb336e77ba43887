//! When a stream's chunks are due, and which one is its last.
//!
//! In: pace, duration, the stream's own start. Out: instants. By absolute deadlines, so that delays never add up. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::speech::Speech;
use crate::client::Pace;

/// How far a stream that cannot keep its pace may overrun: the other side takes audio more slowly than it is spoken.
const LONGEST_OVERRUN: Duration = Duration::from_secs(5);
/// Starts are spread over so much audio: the hop of most models, so that windows of many streams do not end all at once.
const SPREAD: Duration = Duration::from_secs(1);

/// The schedule of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// When the stream's audio begins.
    pub start: Instant,
    /// How fast it goes.
    pub pace: Pace,
    /// Wall time that the stream is on for.
    pub duration: Duration,
}

impl Schedule {
    /// The schedule of stream `number` out of `streams` that begin around `start`.
    pub fn of_stream(
        start: Instant,
        pace: Pace,
        duration: Duration,
        (number, streams): (usize, usize),
    ) -> Self {
        let share = number as f64 / streams as f64;
        let offset = pace.due(SPREAD).map_or(Duration::ZERO, |spread| spread.mul_f64(share));
        Self { start: start + offset, pace, duration }
    }

    /// When chunk `index` is due: once its audio has been spoken. `None` means at once.
    pub fn due(&self, speech: &Speech, index: u64) -> Option<Instant> {
        Some(self.start + self.pace.due(speech.length_of(index + 1))?)
    }

    /// Whether chunk `index`, sent `now`, is the last one.
    pub fn is_last(&self, speech: &Speech, index: u64, now: Instant) -> bool {
        match self.due(speech, index + 1) {
            Some(next) => next > self.start + self.duration || now > self.end() + LONGEST_OVERRUN,
            None => now >= self.end(),
        }
    }

    /// When the stream's time is over.
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
        let third = Schedule::of_stream(start, Pace::REAL_TIME, duration, (2, 4));
        assert_eq!(third.start, start + Duration::from_millis(500));
        assert_eq!(third.due(&speech, 0), Some(third.start + Duration::from_millis(100)));
        let last = (0..).find(|index| third.is_last(&speech, *index, start));
        assert_eq!(last, Some(11), "1.2 s are twelve chunks");
        let late = third.end() + LONGEST_OVERRUN + Duration::from_millis(1);
        assert!(third.is_last(&speech, 3, late), "a stream that is held back ends all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn at_full_speed_the_clock_ends_a_stream() {
        let (start, speech) = (Instant::now(), speech());
        let schedule = Schedule::of_stream(start, Pace::Max, Duration::from_secs(2), (3, 4));
        assert_eq!((schedule.start, schedule.due(&speech, 7)), (start, None));
        assert!(!schedule.is_last(&speech, 9_999, start + Duration::from_millis(1_999)));
        assert!(schedule.is_last(&speech, 0, start + Duration::from_secs(2)));
    }
}
