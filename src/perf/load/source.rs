//! One stream of the load: its chunks and their send times.
//!
//! Input: a schedule and the speech that all streams share. Output: chunks, and a [`LatencySample`] for each event.
//! Invariants: the sending task alone writes the send times and the receiving task reads them, through atomics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Schedule;
use super::speech::Speech;
use crate::client::{window_end, with_capture_time};
use crate::proto::{AudioChunk, EmotionEvent};

/// The audio whose send times are kept; more than flow control allows in flight.
const KEPT: Duration = Duration::from_secs(64);
/// The bounds of the number of send times kept.
const KEPT_CHUNKS: std::ops::RangeInclusive<usize> = 64..=16_384;

/// The latency of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LatencySample {
    /// The time from sending the chunk that completes the window to receiving the event.
    pub latency: Duration,
    /// The time from the due time of that chunk to its sending; `None` at full speed.
    pub late: Option<Duration>,
}

/// The chunks of one stream.
#[derive(Debug)]
pub(super) struct StreamSource {
    pub stream_id: String,
    pub schedule: Schedule,
    number: usize,
    speech: Arc<Speech>,
    /// The number of chunks sent; written by the sending task alone.
    sent: AtomicU64,
    /// A ring of send times: nanoseconds from the schedule's start for chunk `index`, at `index % len`.
    times: Box<[AtomicU64]>,
}

impl StreamSource {
    /// Creates stream `number`.
    pub fn new(stream_id: String, number: usize, schedule: Schedule, speech: Arc<Speech>) -> Self {
        let chunks = KEPT.div_duration_f64(speech.length_of(1)) as usize;
        let kept = chunks.clamp(*KEPT_CHUNKS.start(), *KEPT_CHUNKS.end());
        let times = (0..kept).map(|_| AtomicU64::new(0)).collect();
        Self { stream_id, schedule, number, speech, sent: AtomicU64::new(0), times }
    }

    /// Waits until the next chunk is due, records its send time and returns it. The audio bytes are shared.
    pub async fn next(&self) -> AudioChunk {
        let index = self.sent.load(Ordering::Relaxed);
        if let Some(due) = self.schedule.due(&self.speech, index) {
            tokio::time::sleep_until(due).await;
        }
        let now = Instant::now();
        self.record_send_time(index, now);
        with_capture_time(AudioChunk {
            sequence: Some(index),
            format: Some(self.speech.format()),
            audio: self.speech.chunk(self.number, index),
            last: self.schedule.is_last(&self.speech, index, now),
            ..Default::default()
        })
    }

    fn record_send_time(&self, index: u64, now: Instant) {
        let nanos = now.saturating_duration_since(self.schedule.start).as_nanos() as u64;
        self.times[self.slot(index)].store(nanos, Ordering::Relaxed);
        self.sent.store(index + 1, Ordering::Release);
    }

    fn slot(&self, index: u64) -> usize {
        (index % self.times.len() as u64) as usize
    }

    /// Returns the latency sample of `event`, received at `now`.
    pub fn sample(&self, event: &EmotionEvent, now: Instant) -> LatencySample {
        let sent = self.sent.load(Ordering::Acquire);
        let index = self.speech.chunk_at(window_end(event)).min(sent.saturating_sub(1));
        // Where the send time has been overwritten, the oldest one that is kept is used; the true latency is longer.
        let kept = index.max(sent.saturating_sub(self.times.len() as u64));
        let left = Duration::from_nanos(self.times[self.slot(kept)].load(Ordering::Relaxed));
        let left = self.schedule.start + left;
        let due = self.schedule.due(&self.speech, kept);
        LatencySample {
            latency: now.saturating_duration_since(left),
            late: due.map(|due| left.saturating_duration_since(due)),
        }
    }

    /// Returns the length of the audio sent so far.
    pub fn audio(&self) -> Duration {
        self.speech.length_of(self.sent.load(Ordering::Acquire))
    }

    /// Returns the number of chunks that hold `time` of audio, at least one.
    pub fn chunks_in(&self, time: Duration) -> u64 {
        self.speech.chunk_at(time) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Pace;
    use crate::proto::Encoding;

    fn source(pace: Pace) -> StreamSource {
        let speech =
            Speech::new(&[vec![0.5; 16_000]], 16_000, Encoding::PcmS16le, Duration::from_millis(100));
        let schedule = Schedule { start: Instant::now(), pace, duration: Duration::from_secs(100) };
        StreamSource::new("s".into(), 0, schedule, Arc::new(speech))
    }

    fn ending_at(seconds: u64) -> EmotionEvent {
        EmotionEvent { end: Some(Duration::from_secs(seconds).into()), ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn latency_counts_from_the_chunk_that_completes_the_window() {
        let source = source(Pace::REAL_TIME);
        for _ in 0..35 {
            source.next().await;
        }
        tokio::time::advance(Duration::from_millis(20)).await;
        let sample = source.sample(&ending_at(3), Instant::now());
        assert_eq!(sample.late, Some(Duration::ZERO));
        // The thirtieth chunk left at 3.0 s, and it is 3.52 s now.
        assert!(sample.latency.abs_diff(Duration::from_millis(520)) < Duration::from_millis(3), "{sample:?}");
        assert_eq!(source.audio(), Duration::from_millis(3_500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_chunk_counts_as_late_and_not_as_latency() {
        let source = source(Pace::REAL_TIME);
        tokio::time::advance(Duration::from_millis(1_700)).await;
        for _ in 0..10 {
            source.next().await;
        }
        let sample = source.sample(&ending_at(1), Instant::now());
        assert_eq!((sample.latency, sample.late), (Duration::ZERO, Some(Duration::from_millis(700))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_overwritten_send_time_gives_a_lower_bound_of_the_latency() {
        let source = source(Pace::Max);
        for _ in 0..3_000 {
            source.next().await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let sample = source.sample(&ending_at(1), Instant::now());
        assert_eq!(sample, LatencySample { latency: Duration::from_millis(640), late: None });
    }
}
