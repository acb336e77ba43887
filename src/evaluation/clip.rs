//! One labelled recording: from its bytes to the windows that the model sees.
//!
//! In: a file or raw samples, any rate, any channels. Out: the features of each window. Channels are mixed down; a
//! clip shorter than a window gives one partial window. Never looks at the label, and never leaves a silent window out: each clip has an answer.

use prost::bytes::Bytes;

use super::EvaluationError;
use crate::audio::{self, AudioFormat, Encoding, Planar};
use crate::datasets;
use crate::stream::{BadChunk, Chunk, Scratch, StreamFrontEnd, StreamSetup};
use crate::window::Window;

/// A recording with its truth.
#[derive(Debug, Clone)]
pub struct LabelledClip {
    /// Names the clip.
    pub id: String,
    /// The true emotion.
    pub label: String,
    /// Who speaks, where that is known.
    pub speaker: Option<String>,
    /// How `audio` holds the samples.
    pub format: AudioFormat,
    /// The whole recording.
    pub audio: Bytes,
}

impl LabelledClip {
    /// Reads a dataset's clip: the file as it is, not decoded.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub async fn read(clip: datasets::Clip) -> Result<Self, EvaluationError> {
        let datasets::Clip { id, path, emotion, speaker } = clip;
        let audio = tokio::fs::read(&path).await.map_err(|source| EvaluationError::Read { path, source })?;
        Ok(Self { id, label: emotion, speaker, format: AudioFormat::FILE, audio: audio.into() })
    }
}

/// What turns clips into windows, by the front end that serves streams; one clip after the other.
#[derive(Debug)]
pub struct ClipFrontEnd {
    setup: StreamSetup,
    scratch: Scratch,
}

impl ClipFrontEnd {
    /// The front end of the streams that have `setup`.
    #[must_use]
    pub fn new(setup: &StreamSetup) -> Self {
        let geometry = setup.geometry.clone().any_length();
        let setup = StreamSetup { geometry, gate: None, max_chunk_bytes: usize::MAX, ..setup.clone() };
        Self { scratch: setup.scratch(), setup }
    }

    /// The windows of a clip, each `[frames, coefficients]` with rows of 0.0 behind the last frame, or samples; at least one.
    ///
    /// # Errors
    /// Why the audio cannot be used.
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

/// The mean of all channels, and the sample rate.
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
