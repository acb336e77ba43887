//! The pace of a stream: one that is ahead of real time waits for those that are not.
//!
//! Input: the duration of each piece of audio. Output: nothing for a stream at the pace of speech; for one that is ahead, a part of its model's room for
//! such streams ([`crate::serving::ServedModel::ahead`]). Invariant: the windows of streams that are ahead, on their way to the model or waiting there,
//! are bounded, so that a window of any other stream waits behind few of them.

use std::time::Duration;

use tokio::time::Instant;

/// Audio that a stream may be ahead without waiting: bursts of a client that sends at the pace of speech.
const SLACK: Duration = Duration::from_secs(2);

/// The pace of one stream.
#[derive(Debug)]
pub(super) struct Pace {
    opened: Instant,
    sent: Duration,
    max_pace: u32,
}

impl Pace {
    /// Returns the pace of a stream that opens now. It is ahead once it has sent more than `max_pace` times the time since.
    pub fn new(max_pace: u32) -> Self {
        Self { opened: Instant::now(), sent: Duration::ZERO, max_pace }
    }

    /// Counts a piece of audio, and returns whether the stream is ahead with it.
    pub fn is_ahead_with(&mut self, piece: Duration) -> bool {
        self.sent = self.sent.saturating_add(piece);
        self.sent > self.opened.elapsed().saturating_mul(self.max_pace).saturating_add(SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_stream_at_the_pace_of_speech_is_never_ahead() {
        let mut pace = Pace::new(1);
        for _ in 0..3_600 {
            assert!(!pace.is_ahead_with(SECOND));
            tokio::time::advance(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_faster_stream_is_ahead_beyond_its_slack_until_time_has_passed() {
        let mut pace = Pace::new(2);
        assert!(!pace.is_ahead_with(SLACK));
        assert!(pace.is_ahead_with(SECOND));
        tokio::time::advance(SECOND).await;
        assert!(!pace.is_ahead_with(SECOND), "two seconds of audio for one that has passed");
        assert!(pace.is_ahead_with(SECOND));
    }
}
