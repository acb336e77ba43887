//! Audio that waits for the engine: at most two seconds of each call.
//!
//! Input: bytes as the connection brings them. Output: chunks of whole sample frames with their position. Invariants: adding never waits: the
//! oldest audio is dropped, counted, and missing between the positions of its neighbours; a frame that is split over messages is joined.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Notify;

use super::plausibility::Plausibility;
use crate::audio::AudioFormat;
use crate::proto::AudioChunk;
use crate::stream::StreamCall;
use crate::telemetry::excerpt;
use crate::telemetry::metrics::{self, Source};

/// The longest time of audio that waits, in seconds.
const LONGEST: u64 = 2;

/// The audio of one call between its connection and its session. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    shared: Arc<(Mutex<Waiting>, Notify)>,
    call: Arc<StreamCall>,
    source: Source,
}

#[derive(Debug, Default)]
struct Waiting {
    frame_bytes: usize,
    rate: u64,
    /// Each with the index of its first frame.
    chunks: VecDeque<(u64, Bytes)>,
    /// Frames in `chunks`.
    frames: u64,
    /// Frames that were added.
    end: u64,
    /// Where the last hole ends.
    hole_end: Option<u64>,
    /// Frames that were dropped.
    dropped: u64,
    /// The start of a frame that the last message left incomplete.
    split: Vec<u8>,
    /// Whether the client is active although it sends no audio.
    active: bool,
    /// Whether the audio may have another encoding than it declares; `None` once that is known.
    plausibility: Option<Plausibility>,
    closed: bool,
}

impl Intake {
    /// Returns an empty intake for audio of samples in `format`.
    pub fn new(format: AudioFormat, call: Arc<StreamCall>, source: Source) -> Self {
        let (frame_bytes, rate) = (format.frame_bytes().unwrap_or(1).max(1), format.sample_rate_hz().into());
        let plausibility = Some(Plausibility::new(format));
        let waiting = Waiting { frame_bytes, rate, plausibility, ..Waiting::default() };
        Self { shared: Arc::new((Mutex::new(waiting), Notify::new())), call, source }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds audio of any size.
    pub fn add(&self, audio: &Bytes) {
        let mut waiting = self.waiting();
        let Some(audio) = waiting.whole_frames(audio) else { return };
        let plausible = waiting.plausibility.as_mut().and_then(|measure| measure.add(&audio));
        let frames = (audio.len() / waiting.frame_bytes) as u64;
        let first = waiting.end;
        waiting.chunks.push_back((first, audio));
        waiting.frames += frames;
        waiting.end += frames;
        let (lost_ms, holes) = waiting.drop_oldest();
        if plausible.is_some() {
            waiting.plausibility = None;
        }
        drop(waiting);
        if plausible == Some(false) {
            self.warn();
        }
        if lost_ms > 0 || holes > 0 {
            self.call.lost_ms.fetch_add(lost_ms, Ordering::Relaxed);
            self.call.holes.fetch_add(holes, Ordering::Relaxed);
            metrics::ingest_dropped(self.source, Duration::from_millis(lost_ms));
        }
        self.shared.1.notify_one();
    }

    fn warn(&self) {
        tracing::warn!(
            call_id = %excerpt(&self.call.call_id),
            source = self.source.name(),
            "implausible audio: the samples are not those of speech; its encoding is perhaps another one than declared, such as µ-law declared as \
             linear audio"
        );
    }

    /// Leaves out `frames` sample frames behind what was added.
    pub fn skip(&self, frames: u64) {
        let mut waiting = self.waiting();
        waiting.split.clear();
        waiting.end = waiting.end.saturating_add(frames);
    }

    /// Keeps the stream open although no audio comes.
    pub fn keep_open(&self) {
        self.waiting().active = true;
        self.shared.1.notify_one();
    }

    /// Ends the stream behind what was added.
    pub fn close(&self) {
        self.waiting().closed = true;
        self.shared.1.notify_one();
    }

    /// Waits for the next audio; the last chunk ends the stream. `None` after it.
    pub async fn next(&self, ended: &mut bool) -> Option<AudioChunk> {
        if *ended {
            return None;
        }
        loop {
            let notified = self.shared.1.notified();
            {
                let mut waiting = self.waiting();
                if let Some((first, audio)) = waiting.chunks.pop_front() {
                    waiting.frames -= (audio.len() / waiting.frame_bytes) as u64;
                    return Some(AudioChunk { first_sample: Some(first), audio, ..AudioChunk::default() });
                }
                if waiting.closed {
                    *ended = true;
                    return Some(AudioChunk { last: true, ..AudioChunk::default() });
                }
                if std::mem::take(&mut waiting.active) {
                    return Some(AudioChunk::default());
                }
            }
            notified.await;
        }
    }
}

impl Waiting {
    /// Joins the audio with what the last message left over; `None` where no frame is complete.
    fn whole_frames(&mut self, audio: &Bytes) -> Option<Bytes> {
        if self.split.is_empty() && audio.len().is_multiple_of(self.frame_bytes) {
            return Some(audio.clone()).filter(|audio| !audio.is_empty());
        }
        self.split.extend_from_slice(audio);
        let whole = self.split.len() - self.split.len() % self.frame_bytes;
        let rest = self.split.split_off(whole);
        let audio = std::mem::replace(&mut self.split, rest);
        Some(Bytes::from(audio)).filter(|audio| !audio.is_empty())
    }

    /// Drops the oldest audio that exceeds two seconds; returns how many milliseconds were dropped, and the holes that began.
    fn drop_oldest(&mut self) -> (u64, u64) {
        let (before, mut holes) = (self.dropped, 0);
        loop {
            let excess = self.frames.saturating_sub(LONGEST * self.rate);
            let Some((first, audio)) = self.chunks.front_mut().filter(|_| excess > 0) else { break };
            let frames = excess.min((audio.len() / self.frame_bytes) as u64);
            drop(audio.split_to(frames as usize * self.frame_bytes));
            holes += u64::from(self.hole_end != Some(*first));
            *first += frames;
            self.hole_end = Some(*first);
            let is_empty = audio.is_empty();
            self.frames -= frames;
            self.dropped += frames;
            if is_empty {
                self.chunks.pop_front();
            }
        }
        // The milliseconds of all that was dropped, so that fractions add up.
        let milliseconds = |frames: u64| frames * 1_000 / self.rate.max(1);
        (milliseconds(self.dropped) - milliseconds(before), holes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;

    fn intake(encoding: Encoding, channels: u32) -> Intake {
        let format = AudioFormat::new(encoding, 8_000, channels).unwrap();
        Intake::new(format, Arc::new(StreamCall::named("call".into(), "test")), Source::WEBSOCKET)
    }

    #[tokio::test]
    async fn a_frame_that_is_split_over_messages_is_joined() {
        let (intake, mut ended) = (intake(Encoding::PcmS16Le, 2), false);
        for part in [&b"abc"[..], b"", b"defgh", b"ij"] {
            intake.add(&Bytes::from_static(part));
        }
        intake.close();
        let chunk = intake.next(&mut ended).await.unwrap();
        assert_eq!((chunk.first_sample, &chunk.audio[..]), (Some(0), &b"abcdefgh"[..]));
        assert!(intake.next(&mut ended).await.unwrap().last);
        assert!(intake.next(&mut ended).await.is_none());
    }

    #[tokio::test]
    async fn a_hole_moves_what_follows_and_a_client_without_audio_keeps_its_stream_open() {
        let (intake, mut ended) = (intake(Encoding::MuLaw, 2), false);
        intake.add(&Bytes::from_static(&[0x55; 160]));
        intake.skip(12_000);
        intake.add(&Bytes::from_static(&[0x55; 160]));
        let mut first = async || intake.next(&mut ended).await.unwrap().first_sample;
        assert_eq!((first().await, first().await), (Some(0), Some(12_080)));
        intake.keep_open();
        let chunk = intake.next(&mut ended).await.unwrap();
        assert!(chunk.audio.is_empty() && !chunk.last);
    }

    #[tokio::test]
    async fn the_oldest_audio_is_dropped_and_becomes_one_hole() {
        let (intake, mut ended) = (intake(Encoding::MuLaw, 1), false);
        for _ in 0..25 {
            intake.add(&Bytes::from(vec![0x55; 800]));
        }
        let call = &intake.call;
        assert_eq!((call.lost_ms.load(Ordering::Relaxed), call.holes.load(Ordering::Relaxed)), (500, 1));
        assert_eq!(intake.next(&mut ended).await.unwrap().first_sample, Some(4_000));
    }
    #[tokio::test]
    async fn a_message_longer_than_two_seconds_loses_its_beginning_only() {
        let (intake, mut ended) = (intake(Encoding::PcmS16Le, 2), false);
        intake.skip(80);
        for value in 0..2 {
            intake.add(&Bytes::from(vec![value; 20_002 * 4]));
        }
        let chunk = intake.next(&mut ended).await.unwrap();
        assert_eq!((chunk.first_sample, chunk.audio.len(), chunk.audio[0]), (Some(24_084), 64_000, 1));
        let call = &intake.call;
        assert_eq!((call.lost_ms.load(Ordering::Relaxed), call.holes.load(Ordering::Relaxed)), (3_000, 1));
    }
}
