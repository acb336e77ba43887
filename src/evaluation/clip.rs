//! Labelled clips, and the front end that turns them into windows of features.
//!
//! Input: a file or raw samples, at any sample rate and with any number of channels. Output: the features of each window.
//! Invariants: channels are averaged; a clip shorter than a window gives one partial window; silent windows are kept, so
//! that every clip has at least one window.

use prost::bytes::Bytes;

use super::EvaluationError;
use crate::audio::{self, AudioFormat, Encoding, Planar};
use crate::datasets;
use crate::stream::{BadChunk, Chunk, Scratch, StreamFrontEnd, StreamSetup};
use crate::window::Window;

/// A recording with its true label.
#[derive(Debug, Clone)]
pub struct LabelledClip {
    /// The clip's id.
    pub id: String,
    /// The true emotion.
    pub label: String,
    /// The speaker's id, where it is known.
    pub speaker: Option<String>,
    /// The format of `audio`.
    pub format: AudioFormat,
    /// The bytes of the whole recording.
    pub audio: Bytes,
}

impl LabelledClip {
    /// Reads the file of a dataset's clip without decoding it.
    ///
    /// # Errors
    /// Returns an error that names the file where it cannot be read.
    pub async fn read(clip: datasets::Clip) -> Result<Self, EvaluationError> {
        let datasets::Clip { id, path, emotion, speaker } = clip;
        let audio = tokio::fs::read(&path).await.map_err(|source| EvaluationError::Read { path, source })?;
        Ok(Self { id, label: emotion, speaker, format: AudioFormat::FILE, audio: audio.into() })
    }
}

/// Turns clips into windows of features with the front end that the daemon uses for streams, one clip after the other.
#[derive(Debug)]
pub struct ClipFrontEnd {
    setup: StreamSetup,
    scratch: Scratch,
}

impl ClipFrontEnd {
    /// Creates a front end for the model and options of `setup`. Voice activity detection and the limit of the chunk size are
    /// switched off, and windows may have any length.
    #[must_use]
    pub fn new(setup: &StreamSetup) -> Self {
        let geometry = setup.geometry.clone().any_length();
        let setup = StreamSetup { geometry, gate: None, max_chunk_bytes: usize::MAX, ..setup.clone() };
        Self { scratch: setup.scratch(), setup }
    }

    /// Returns the windows of a clip, at least one: each is `[frames, coefficients]`, padded with rows of 0.0 after the last
    /// frame, or the samples where the model takes a waveform.
    ///
    /// # Errors
    /// Returns the reason where the audio cannot be decoded or is shorter than one frame.
    pub fn windows(&mut self, format: AudioFormat, bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
        let (samples, rate_hz) = mixed_down(format, bytes)?;
        let chunk = Chunk {
            format: Some(
                AudioFormat::new(Encoding::PcmF32Le, rate_hz, 1).map_err(|error| error.to_string())?,
            ),
            audio: samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>().into(),
            last: true,
            ..Chunk::default()
        };
        let windows = self.cut(&chunk).map_err(|error| error.to_string())?;
        if windows.is_empty() {
            let geometry = &self.setup.geometry;
            let (frame, rate_hz) = (geometry.frame_length, geometry.sample_rate_hz);
            return Err(format!("shorter than one frame ({frame} samples at {rate_hz} Hz)"));
        }
        Ok(windows)
    }

    fn cut(&mut self, chunk: &Chunk) -> Result<Vec<Vec<f32>>, BadChunk> {
        let mut windows = Vec::new();
        let mut keep = |window: Window| windows.push(window.features);
        let mut stream = StreamFrontEnd::begin(&self.setup, chunk)?;
        stream.accept(&mut self.scratch, chunk, &mut keep)?;
        stream.end(&mut self.scratch, &mut keep)?;
        Ok(windows)
    }
}

/// Decodes a clip and returns the mean of all channels, and the sample rate in Hz.
pub(super) fn mixed_down(format: AudioFormat, bytes: &[u8]) -> Result<(Vec<f32>, u32), String> {
    if format.is_file() {
        let file = audio::decode_bytes(bytes, None).map_err(|error| error.problem.to_string())?;
        return Ok((mean(&file.channels), file.sample_rate_hz));
    }
    let mut planar = Planar::new();
    audio::decode(format, bytes, &mut planar).map_err(|error| error.to_string())?;
    Ok((mean(planar.channels()), format.sample_rate_hz()))
}

fn mean(channels: &[Vec<f32>]) -> Vec<f32> {
    match channels {
        [] => Vec::new(),
        [only] => only.clone(),
        [first, ..] => {
            let share = 1.0 / channels.len() as f32;
            let at = |index: usize| channels.iter().map(|channel| channel[index]).sum::<f32>() * share;
            (0..first.len()).map(at).collect()
        }
    }
}
