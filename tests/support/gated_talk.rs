//! A talk with pauses at 16 kHz, a model for it, and its windows of speech and of silence.
//!
//! Input: the parts of a talk. Output: chunks, and the windows that a daemon with the gate must find. Holds no assertion.

use std::path::{Path, PathBuf};

use affectd::config::{Config, Vad, VadMode, Window as WindowSettings};
use affectd::model::{Contract, Layout, Output, WindowShape};
use affectd::proto::{AudioChunk, Encoding};
use affectd::stream::{Chunk, StreamSetup};

use super::call_fixture::{chunk, format, last, more};
use super::speech_fixture::Part::{self, Silence, Speech};
use super::speech_fixture::{pcm16, talk};
use super::{model_fixture, stream_fixture};

/// The parts of the usual talk.
pub const PARTS: &[Part] =
    &[Silence(2_300), Speech(3_000), Silence(4_100), Speech(2_500), Silence(2_100), Speech(900)];

/// 100 ms of 16 bits.
const CHUNK_BYTES: usize = 3_200;

/// The tiny model at 16 kHz: 1 s every 0.5 s.
pub fn contract() -> Contract {
    let tiny = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    let window = WindowShape { length_samples: 16_000, hop_samples: 8_000 };
    Contract { sample_rate_hz: 16_000, window, frames: Some(1 + (16_000 - 256) / 80), ..tiny }
}

/// That model in a file of `folder`.
pub fn model(folder: &Path) -> PathBuf {
    model_fixture::write(folder, model_fixture::graph(&contract()), &contract())
}

/// Each window of a talk of one channel, and whether it is silent.
pub fn windows(parts: &[Part]) -> Vec<(u64, bool)> {
    let config = Config::default();
    let setup = StreamSetup::new(&contract(), &WindowSettings { hop: None, ..config.window }, &config.audio);
    let setup = setup.unwrap().gated(&contract(), &Vad { mode: VadMode::Gate, ..config.vad }).unwrap();
    let mut feed = stream_fixture::Feed::new(
        &setup,
        stream_fixture::format(affectd::audio::Encoding::PcmS16Le, 16_000, 1),
    );
    feed.chunk(Chunk { audio: pcm16(&talk(parts)).into(), last: true, ..Chunk::default() }).unwrap();
    feed.windows.iter().map(|window| (window.index, window.silent)).collect()
}

/// The indexes of the windows of speech.
pub fn speech_windows(windows: &[(u64, bool)]) -> Vec<u64> {
    windows.iter().filter(|(_, silent)| !silent).map(|(index, _)| *index).collect()
}

/// The talk in chunks of 100 ms.
pub fn chunks(parts: &[Part]) -> Vec<AudioChunk> {
    let audio = pcm16(&talk(parts));
    let mut chunks: Vec<AudioChunk> = audio.chunks(CHUNK_BYTES).map(more).collect();
    chunks[0] = chunk("call", format(Encoding::PcmS16le, 16_000, 1), chunks[0].audio.clone());
    *chunks.last_mut().unwrap() = last(chunks.last().unwrap().clone());
    chunks
}
