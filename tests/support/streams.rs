//! Synthetic calls as Kafka records: tones of varying pitch, so that adjacent windows differ.
//!
//! Input: number, length and kind of calls. Output: the chunks of each call in order, and the windows that it must give. Deterministic.

use std::collections::BTreeSet;

use affectd::proto::{AudioChunk, AudioFormat, Encoding};
use prost::Message;

use super::kafka::Record;

/// How a call's chunks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Protobuf, 16 kHz PCM, each chunk with `sequence` and `first_sample`.
    Placed,
    /// Protobuf, 16 kHz stereo PCM, neither `sequence` nor `first_sample`.
    Unplaced,
    /// Raw bytes, 8 kHz µ-law, with the format in the headers.
    RawMuLaw,
}

/// A call.
#[derive(Debug, Clone)]
pub struct Call {
    pub stream_id: String,
    pub kind: Kind,
    pub chunks: usize,
}

/// Length of one chunk.
pub const CHUNK_MS: usize = 100;

/// The identity of a window: stream, channel, index, partial.
pub type Name = (String, u32, u64, bool);

impl Kind {
    pub fn rate(self) -> usize {
        if self == Kind::RawMuLaw { 8_000 } else { 16_000 }
    }

    pub fn channels(self) -> usize {
        if self == Kind::Unplaced { 2 } else { 1 }
    }
}

/// `count` calls of all kinds, of `chunks` chunks and a few more each.
pub fn calls(count: usize, chunks: usize) -> Vec<Call> {
    let kinds = [Kind::Placed, Kind::Unplaced, Kind::Placed, Kind::RawMuLaw];
    (0..count)
        .map(|n| Call {
            stream_id: format!("call-{n:02}"),
            kind: kinds[n % kinds.len()],
            chunks: chunks + n % 7,
        })
        .collect()
}

impl Call {
    /// The record of chunk `number`; the last one ends the stream.
    pub fn record(&self, number: usize) -> Record {
        let last = number + 1 == self.chunks;
        let (rate, channels) = (self.kind.rate(), self.kind.channels());
        let length = rate * CHUNK_MS / 1000;
        let first = number * length;
        let samples: Vec<i16> = (first..first + length)
            .flat_map(|at| (0..channels).map(move |channel| (at, channel)))
            .map(|(at, channel)| self.sample(at as f64 / rate as f64, channel))
            .collect();
        if self.kind == Kind::RawMuLaw {
            let bytes: Vec<u8> = samples.into_iter().map(mulaw).collect();
            let record =
                Record::new(self.stream_id.as_str(), bytes).header("content-type", "audio/PCMU;rate=8000");
            return if last { record.header("affectd-last", "true") } else { record };
        }
        let placed = self.kind == Kind::Placed;
        let chunk = AudioChunk {
            stream_id: self.stream_id.clone(),
            sequence: placed.then_some(number as u64),
            first_sample: placed.then_some(first as u64),
            format: Some(AudioFormat {
                encoding: Encoding::PcmS16le.into(),
                sample_rate_hz: rate as u32,
                channels: channels as u32,
            }),
            audio: samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            last,
            ..AudioChunk::default()
        };
        Record::new(self.stream_id.as_str(), chunk.encode_to_vec())
    }

    /// The windows of `length_ms` every `hop_ms` of the whole call, and its partial window.
    pub fn windows(&self, length_ms: usize, hop_ms: usize) -> BTreeSet<Name> {
        let total = self.chunks * CHUNK_MS;
        let full = if total < length_ms { 0 } else { (total - length_ms) / hop_ms + 1 };
        let partial = full == 0 || total > (full - 1) * hop_ms + length_ms;
        let indexes = (0..full).map(|index| (index, false)).chain(partial.then_some((full, true)));
        let name = |channel: usize, (index, partial): (usize, bool)| {
            (self.stream_id.clone(), channel as u32, index as u64, partial)
        };
        indexes.flat_map(|index| (0..self.kind.channels()).map(move |channel| name(channel, index))).collect()
    }

    fn sample(&self, seconds: f64, channel: usize) -> i16 {
        let seed = self.stream_id.bytes().map(f64::from).sum::<f64>() + 31.0 * channel as f64;
        let pitch = 110.0 + seed % 90.0 + 40.0 * (seconds * 0.7 + seed).sin();
        let loudness = 0.25 + 0.2 * (seconds * 1.9 + seed).sin();
        let tone = (1..6)
            .map(|k| (k as f64 * pitch * std::f64::consts::TAU * seconds).sin() / k as f64)
            .sum::<f64>();
        (tone * loudness * 12_000.0) as i16
    }
}

/// G.711 µ-law of a 16-bit sample (ITU-T G.711, bias 132).
fn mulaw(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = (7 - (magnitude << 17).leading_zeros() as i32).max(0);
    let exponent = if magnitude < 132 { 0 } else { exponent };
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) | mantissa) as u8
}
