//! Streams of known audio as records: four kinds, interleaved as callers would send them, and poison.
//!
//! Input: a seed, the number of streams and their length. Output: records with their instants. Deterministic.

use std::time::Duration;

use affectd::proto::{AudioChunk, AudioFormat, Encoding};
use prost::Message;

use crate::random::Random;
use crate::support::kafka::Record;

/// Length of one chunk.
const CHUNK_MS: usize = 100;
/// Of so many streams one does not end by its last record, but by idle time.
const ONE_IDLE_IN: usize = 20;

/// How a stream's chunks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Protobuf, 16 kHz PCM, with `sequence` and `first_sample`.
    Placed,
    /// Protobuf, 16 kHz PCM, with neither.
    Unplaced,
    /// Raw bytes, 16 kHz PCM, with the header `affectd-first-sample`.
    RawPlaced,
    /// Raw bytes, 8 kHz stereo µ-law.
    RawStereo,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Placed, Kind::Unplaced, Kind::RawPlaced, Kind::RawStereo];

    fn rate(self) -> usize {
        if self == Kind::RawStereo { 8_000 } else { 16_000 }
    }
}

/// A record and when it is written, from the start of the run.
#[derive(Debug, Clone)]
pub struct Timed {
    pub at: Duration,
    pub record: Record,
    pub poison: bool,
}

/// Returns the records of `streams` streams of about `chunks` chunks, spread over `length`, in the order of their instants.
pub fn records(seed: u64, streams: usize, chunks: usize, length: Duration) -> Vec<Timed> {
    let mut random = Random::new(seed, "generator");
    let mut records = Vec::new();
    for number in 0..streams {
        let chunks = chunks + random.between(0..8) as usize;
        let offset = random.millis(0..300);
        let kind = Kind::ALL[number % Kind::ALL.len()];
        for chunk in 0..chunks {
            let at = offset + length.mul_f64(chunk as f64 / chunks as f64);
            let last = chunk + 1 == chunks && number % ONE_IDLE_IN != 7;
            let record = stream_record(number, kind, chunk, last);
            records.push(Timed { at, record, poison: false });
        }
    }
    records.sort_by_key(|timed| timed.at);
    records
}

/// Adds poison at random instants.
pub fn add_poison(seed: u64, records: &mut Vec<Timed>) {
    let mut random = Random::new(seed, "poison");
    let end = records.last().expect("there are records").at;
    for (number, record) in (0..3).flat_map(|_| poison()).enumerate() {
        let at = end.mul_f64(random.between(0..1_000) as f64 / 1_000.0);
        let record = Record {
            key: record.key.map(|key| [&key[..], number.to_string().as_bytes()].concat()),
            ..record
        };
        records.push(Timed { at, record, poison: true });
    }
    records.sort_by_key(|timed| timed.at);
}

/// Records that hold no chunk, each of its own kind.
fn poison() -> Vec<Record> {
    let raw = || Record::new("poison-", vec![0; 160]);
    let chunk = |encoding: i32, rate: u32, channels: u32, audio: Vec<u8>| {
        let format = Some(AudioFormat { encoding, sample_rate_hz: rate, channels });
        let chunk = AudioChunk { format, audio: audio.into(), ..AudioChunk::default() };
        Record::new("poison-", chunk.encode_to_vec())
    };
    let (pcm, float) = (Encoding::PcmS16le.into(), Encoding::PcmF32le.into());
    vec![
        Record::new("poison-", "not a message"),
        Record { value: None, ..raw() },
        Record { key: None, ..raw() }.header("content-type", "audio/PCMU"),
        chunk(99, 16_000, 1, vec![0; 320]),
        chunk(pcm, 4_000, 1, vec![0; 320]),
        chunk(pcm, 16_000, 9, vec![0; 360]),
        chunk(float, 16_000, 1, f32::NAN.to_le_bytes().to_vec()),
        raw().header("content-type", "audio/L16"),
        raw().header("content-type", "image/png"),
        raw().header("content-type", "audio/PCMU").header("affectd-last", "perhaps"),
        raw().header("content-type", "audio/PCMU").header("affectd-first-sample", "x".repeat(200_000)),
        // Larger than a producer sends by default, and as large as brokers take.
        Record::new("poison-", vec![0xff; 1_020_000]),
        Record::new("poison-", vec![0xff; 900_000]).header("x", vec![b'x'; 120_000]),
    ]
}

fn stream_record(number: usize, kind: Kind, chunk: usize, last: bool) -> Record {
    let id = format!("stream-{number:03}");
    let length = kind.rate() * CHUNK_MS / 1_000;
    let first = chunk * length;
    let channels = if kind == Kind::RawStereo { 2 } else { 1 };
    let samples: Vec<i16> = (first..first + length)
        .flat_map(|at| (0..channels).map(move |channel| (at, channel)))
        .map(|(at, channel)| sample(number, at as f64 / kind.rate() as f64, channel))
        .collect();
    let pcm = || samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
    let record = match kind {
        Kind::Placed | Kind::Unplaced => {
            let placed = kind == Kind::Placed;
            let chunk = AudioChunk {
                stream_id: id.clone(),
                sequence: placed.then_some(chunk as u64),
                first_sample: placed.then_some(first as u64),
                format: Some(AudioFormat {
                    encoding: Encoding::PcmS16le.into(),
                    sample_rate_hz: 16_000,
                    channels: 1,
                }),
                audio: pcm().into(),
                last,
                ..AudioChunk::default()
            };
            return Record::new(id, chunk.encode_to_vec());
        }
        Kind::RawPlaced => Record::new(id, pcm())
            .header("content-type", "audio/L16;rate=16000;endianness=little-endian")
            .header("affectd-first-sample", first.to_string()),
        Kind::RawStereo => Record::new(id, samples.iter().map(|sample| mulaw(*sample)).collect::<Vec<u8>>())
            .header("content-type", "audio/PCMU;rate=8000;channels=2"),
    };
    if last { record.header("affectd-last", "true") } else { record }
}

/// A tone of varying pitch and loudness, so that adjacent windows differ.
fn sample(stream: usize, seconds: f64, channel: usize) -> i16 {
    let seed = 17.0 * stream as f64 + 31.0 * channel as f64;
    let pitch = 110.0 + seed % 90.0 + 40.0 * (seconds * 0.7 + seed).sin();
    let loudness = 0.25 + 0.2 * (seconds * 1.9 + seed).sin();
    let tone: f64 =
        (1..4).map(|k| (f64::from(k) * pitch * std::f64::consts::TAU * seconds).sin() / f64::from(k)).sum();
    (tone * loudness * 12_000.0) as i16
}

/// G.711 µ-law of a 16-bit sample (ITU-T G.711, bias 132).
fn mulaw(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = (7 - (magnitude << 17).leading_zeros() as i32).max(0);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) | mantissa) as u8
}
