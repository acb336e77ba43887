//! Endless audio: a recording that is cut into equal chunks, encoded once and repeated.
//!
//! Input: samples. Output: chunks by index, and the position at which each chunk ends. Invariants: all chunks have the
//! same length, and their bytes are shared, not copied.

use std::time::Duration;

use prost::bytes::Bytes;

use crate::audio::{encode, sample_bytes};
use crate::proto::{AudioFormat, Encoding};
use crate::window::{time_of, whole_samples};

/// The offset, in chunks, between the starts of consecutive streams in the recording, so that the streams differ.
const STAGGER_CHUNKS: u64 = 7;

/// A repeated recording, shared by all streams.
#[derive(Debug, Clone)]
pub struct Speech {
    chunks: Vec<Bytes>,
    format: AudioFormat,
    /// The number of samples per channel in each chunk, at least 1.
    chunk_samples: u64,
}

impl Speech {
    /// Cuts samples into chunks of length `chunk`; `channels` holds one vector per channel, all of the same length. A
    /// remainder shorter than a chunk is dropped, and a recording shorter than one chunk is repeated until it fills one.
    ///
    /// # Panics
    /// Panics where there is no sample, and where the encoding is a file format.
    #[must_use]
    pub fn new(channels: &[Vec<f32>], sample_rate_hz: u32, encoding: Encoding, chunk: Duration) -> Self {
        let chunk_samples = whole_samples(chunk, sample_rate_hz).max(1);
        let length = chunk_samples as usize;
        let frames = channels.first().map_or(0, Vec::len);
        let whole = frames.max(length) / length * length;
        let filled = |channel: &Vec<f32>| channel.iter().copied().cycle().take(whole).collect();
        let filled: Vec<Vec<f32>> = channels.iter().map(filled).collect();
        let width = channels.len() * sample_bytes(encoding).expect("the encoding holds samples");
        let bytes = encode(&filled, encoding);
        let chunks: Vec<Bytes> = (0..whole / length)
            .map(|at| bytes.slice(at * length * width..(at + 1) * length * width))
            .collect();
        assert!(!chunks.is_empty(), "a recording holds at least one sample");
        let channels = u32::try_from(channels.len()).expect("few channels");
        Self {
            chunks,
            format: AudioFormat { encoding: encoding.into(), sample_rate_hz, channels },
            chunk_samples,
        }
    }

    /// Returns the format of the chunks.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Returns chunk `index` of stream number `stream`.
    #[must_use]
    pub fn chunk(&self, stream: usize, index: u64) -> Bytes {
        let at = (stream as u64 * STAGGER_CHUNKS + index) % self.chunks.len() as u64;
        self.chunks[at as usize].clone()
    }

    /// Returns the length of `count` chunks.
    #[must_use]
    pub fn length_of(&self, count: u64) -> Duration {
        time_of(count * self.chunk_samples, self.format.sample_rate_hz)
    }

    /// Returns the index of the chunk that completes the audio up to `position`.
    #[must_use]
    pub fn chunk_at(&self, position: Duration) -> u64 {
        // Rounded to the nearest sample, because positions are rounded to nanoseconds.
        let samples = whole_samples(position, self.format.sample_rate_hz);
        samples.div_ceil(self.chunk_samples).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech(frames: usize, rate: u32, chunk_ms: u64) -> Speech {
        let samples = (0..frames).map(|n| n as f32 / frames as f32).collect();
        Speech::new(&[samples], rate, Encoding::PcmS16le, Duration::from_millis(chunk_ms))
    }

    #[test]
    fn chunks_have_one_size_and_repeat() {
        let speech = speech(1_700, 8_000, 50);
        let first: Vec<Bytes> = (0..8).map(|index| speech.chunk(0, index)).collect();
        assert!(first.iter().all(|chunk| chunk.len() == 800));
        assert_eq!(first[..4], first[4..], "100 samples are dropped");
        assert_ne!(first[0], first[1]);
        assert_eq!(speech.chunk(1, 0), speech.chunk(0, STAGGER_CHUNKS));
    }

    #[test]
    fn a_recording_shorter_than_a_chunk_fills_one() {
        let speech = speech(30, 8_000, 10);
        assert_eq!(speech.chunk(0, 0).len(), 160);
        assert_eq!(speech.chunk(3, 9), speech.chunk(0, 0));
    }

    #[test]
    fn a_window_is_completed_by_the_chunk_that_holds_its_last_sample() {
        // 44.1 kHz: no chunk ends on a whole nanosecond.
        for (rate, chunk_ms) in [(16_000, 100), (8_000, 20), (44_100, 30), (11_025, 10)] {
            let speech = speech(100_000, rate, chunk_ms);
            for index in 0..5_000 {
                assert_eq!(speech.chunk_at(speech.length_of(index + 1)), index, "{rate} Hz");
            }
        }
        let speech = speech(16_000, 16_000, 100);
        assert_eq!(speech.chunk_at(Duration::from_millis(101)), 1);
        assert_eq!(speech.chunk_at(Duration::from_secs(3)), 29);
    }
}
