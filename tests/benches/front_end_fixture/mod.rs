//! The work that the benchmarks of the front end run: features of a recording, chunks of a stream,
//! resampling.
//!
//! Input: samples.
//! Output: computed results; nothing is measured here.

#![allow(dead_code, unused_imports, clippy::allow_attributes, reason = "each benchmark uses a part of it")]

#[path = "../../support/stream_fixture.rs"]
mod stream_fixture;

use std::path::Path;
use std::sync::Arc;

use affectd::audio::{AudioFormat, Encoding, Resampler, ResamplerPlan, decode_file};
use affectd::stream::{Chunk, Scratch, StreamFrontEnd, StreamSetup};
use prost::bytes::Bytes;

pub use stream_fixture::{format, noise, setup};

/// Returns the samples of all WAV files of a folder with 16 kHz and one channel, one after the other.
pub fn speech(folder: &Path) -> Vec<f32> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder's entry").path()).collect();
    files.sort();
    let mut samples = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|name| name == "wav")) {
        let recording = decode_file(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if recording.sample_rate_hz == 16_000 && recording.channels.len() == 1 {
            samples.extend_from_slice(&recording.channels[0]);
        }
    }
    assert!(!samples.is_empty(), "{} holds no mono WAV file of 16 kHz", folder.display());
    samples
}

/// Returns the sample recordings that are built into the daemon.
pub fn samples() -> Vec<f32> {
    speech(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples"))
}

/// Resamples from 16 kHz to another rate.
pub fn at_rate(samples: &[f32], rate_hz: u32) -> Vec<f32> {
    affectd::audio::resample(&Arc::new(ResamplerPlan::new(16_000, rate_hz)), samples)
}

/// Encodes samples in chunks of 100 ms, as a client sends them.
pub fn chunks(samples: &[f32], rate_hz: u32, encoding: Encoding) -> (AudioFormat, Vec<Bytes>) {
    let bytes = |samples: &[f32]| match encoding {
        Encoding::MuLaw => samples.iter().map(|sample| mu_law(*sample)).collect(),
        _ => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    };
    (format(encoding, rate_hz, 1), samples.chunks(rate_hz as usize / 10).map(bytes).collect())
}

/// Encodes a sample as µ-law (ITU-T G.711).
fn mu_law(sample: f32) -> u8 {
    let magnitude = ((sample.abs() * 32_768.0) as i32).min(32_635) + 132;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 15;
    let sign = if sample < 0.0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// Runs a stream through the whole front end: decoding, resampling, frames, windows. Returns the number of
/// windows.
pub fn stream(setup: &StreamSetup, scratch: &mut Scratch, format: AudioFormat, chunks: &[Bytes]) -> usize {
    let mut windows = 0;
    held_stream(setup, scratch, format, chunks, &mut windows);
    windows
}

/// Runs a stream like [`stream`], adds the number of windows to `windows` and returns the stream, still open.
pub fn held_stream(
    setup: &StreamSetup,
    scratch: &mut Scratch,
    format: AudioFormat,
    chunks: &[Bytes],
    windows: &mut usize,
) -> StreamFrontEnd {
    let chunk = |audio: &Bytes| Chunk { audio: audio.clone(), format: Some(format), ..Chunk::default() };
    let mut stream = StreamFrontEnd::begin(setup, &chunk(&Bytes::new())).expect("a format");
    for audio in chunks {
        stream.accept(scratch, &chunk(audio), &mut |_| *windows += 1).expect("good audio");
    }
    stream
}

/// Resamples in chunks of 100 ms.
pub fn resample_chunks(plan: &Arc<ResamplerPlan>, samples: &[f32], out: &mut Vec<f32>) {
    let mut resampler = Resampler::new(plan.clone(), 0);
    for chunk in samples.chunks(plan.source_rate_hz() as usize / 10) {
        out.clear();
        resampler.push(chunk, out);
    }
}
