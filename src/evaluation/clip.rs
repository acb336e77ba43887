//! Labelled clips, and the front end that turns them into windows of features.
//!
//! Input: a file or raw samples, at any sample rate and with any number of channels. Output: the features of each window.
//! Invariants: channels are averaged; a clip shorter than a window gives one partial window; silent windows are kept, so
//! that every clip has at least one window.

use prost::bytes::Bytes;

use super::EvaluationError;
use crate::audio::{self, AudioFormat, Encoding, Planar, mean_of_channels};
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
    pub fn windows(&mut self, format: AudioFormat, bytes: &Bytes) -> Result<Vec<Vec<f32>>, String> {
        let (samples, rate_hz) = mixed_down(format, bytes)?;
        let mut windows = Vec::new();
        self.cut(samples.chunks(rate_hz as usize), rate_hz, &mut |features| {
            windows.push(features);
            true
        })?;
        Ok(windows)
    }

    /// Passes the windows of mixed-down samples to `take`, one after the other, until it returns false. The samples come in pieces, so that
    /// only the windows that `take` keeps use memory.
    ///
    /// # Errors
    /// Returns the reason where the samples are fewer than one frame.
    pub fn cut(
        &mut self,
        pieces: impl IntoIterator<Item: AsRef<[f32]>>,
        rate_hz: u32,
        take: &mut dyn FnMut(Vec<f32>) -> bool,
    ) -> Result<(), String> {
        let format = AudioFormat::new(Encoding::PcmF32Le, rate_hz, 1).map_err(|error| error.to_string())?;
        let (mut windows, mut goes_on) = (0_usize, true);
        let mut emit = |window: Window, goes_on: &mut bool| {
            windows += 1;
            *goes_on = *goes_on && take(window.features);
        };
        let first = Chunk { format: Some(format), ..Chunk::default() };
        let text = |bad: BadChunk| bad.to_string();
        let mut stream = StreamFrontEnd::begin(&self.setup, &first).map_err(text)?;
        for piece in pieces {
            let audio =
                piece.as_ref().iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>().into();
            let chunk = Chunk { audio, ..first.clone() };
            let accepted = stream.accept(&mut self.scratch, &chunk, &mut |window| emit(window, &mut goes_on));
            accepted.map_err(text)?;
            if !goes_on {
                return Ok(());
            }
        }
        stream.end(&mut self.scratch, &mut |window| emit(window, &mut goes_on));
        if windows > 0 {
            return Ok(());
        }
        let geometry = &self.setup.geometry;
        let (frame, rate_hz) = (geometry.frame_length, geometry.sample_rate_hz);
        Err(format!("shorter than one frame ({frame} samples at {rate_hz} Hz)"))
    }
}

/// Decodes a clip and returns the mean of all channels, and the sample rate in Hz.
pub(super) fn mixed_down(format: AudioFormat, bytes: &Bytes) -> Result<(Vec<f32>, u32), String> {
    if format.is_file() {
        let file = audio::decode_bytes(bytes.clone(), None).map_err(|error| error.problem.to_string())?;
        return Ok((mean_of_channels(&file.channels), file.sample_rate_hz));
    }
    let mut planar = Planar::new();
    audio::decode(format, bytes, &mut planar).map_err(|error| error.to_string())?;
    Ok((mean_of_channels(planar.channels()), format.sample_rate_hz()))
}
