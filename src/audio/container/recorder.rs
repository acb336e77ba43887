//! Collects decoded packets into one recording.
//!
//! Input: decoded packets, one buffer per channel.
//! Output: a [`Recording`] within a [`DecodeLimit`].
//! Invariants: rate and number of channels are within the limits and do not change within a recording.

use super::super::format::{check_channels, check_sample_rate};
use super::super::{DecodeLimit, FileProblem, Recording};
use super::malformed;

/// The samples that were decoded so far.
pub(in crate::audio) struct Recorder {
    recording: Recording,
    limit: DecodeLimit,
}

impl Recorder {
    /// Creates an empty recording that may grow to `limit`.
    pub(in crate::audio) fn new(limit: &DecodeLimit) -> Self {
        Self { recording: Recording { sample_rate_hz: 0, channels: Vec::new() }, limit: limit.clone() }
    }

    /// Returns the samples per channel that were appended.
    pub(in crate::audio) fn frames(&self) -> usize {
        self.recording.channels.first().map_or(0, Vec::len)
    }

    /// Returns the samples per second of one channel; zero where nothing was appended.
    pub(in crate::audio) fn rate_hz(&self) -> u32 {
        self.recording.sample_rate_hz
    }

    /// Appends one buffer of equal length per channel.
    ///
    /// # Errors
    /// A rate or a number of channels outside the limits or unlike the one before; a recording that grows
    /// beyond its limit.
    pub(in crate::audio) fn append(
        &mut self,
        rate_hz: u32,
        channels: &[Vec<f32>],
    ) -> Result<(), FileProblem> {
        let recording = &mut self.recording;
        if recording.channels.is_empty() {
            check_format(rate_hz, channels.len())?;
            *recording = Recording { sample_rate_hz: rate_hz, channels: vec![Vec::new(); channels.len()] };
        }
        if (recording.sample_rate_hz, recording.channels.len()) != (rate_hz, channels.len()) {
            return Err(format_change());
        }
        let frames = recording.channels[0].len() + channels[0].len();
        self.limit.check(rate_hz, channels.len(), frames)?;
        for (channel, block) in recording.channels.iter_mut().zip(channels) {
            channel.extend_from_slice(block);
        }
        Ok(())
    }

    /// Appends `frames` zeros to every channel; nothing where no packet was appended before.
    ///
    /// # Errors
    /// A recording that grows beyond its limit.
    pub(in crate::audio) fn append_silence(&mut self, frames: usize) -> Result<(), FileProblem> {
        let silence = vec![vec![0.0; frames]; self.recording.channels.len()];
        if silence.is_empty() { Ok(()) } else { self.append(self.recording.sample_rate_hz, &silence) }
    }

    /// Removes `start` samples from the beginning and `end` samples from the end of every channel.
    pub(in crate::audio) fn trim(&mut self, start: usize, end: usize) {
        for channel in &mut self.recording.channels {
            channel.truncate(channel.len().saturating_sub(end));
            channel.drain(..start.min(channel.len()));
        }
    }

    /// Returns the recording.
    ///
    /// # Errors
    /// [`FileProblem::NoSamples`] where it is empty.
    pub(in crate::audio) fn finish(self) -> Result<Recording, FileProblem> {
        if self.frames() == 0 { Err(FileProblem::NoSamples) } else { Ok(self.recording) }
    }
}

/// Refuses a sample rate or a number of channels outside the limits.
pub(super) fn check_format(rate_hz: u32, channels: usize) -> Result<(), FileProblem> {
    let count = u32::try_from(channels).unwrap_or(u32::MAX);
    check_channels(count).map_err(|_| FileProblem::Channels { value: count })?;
    check_sample_rate(rate_hz).map_err(|_| FileProblem::SampleRate { value: rate_hz })
}

/// The error of a file whose parts differ in their format.
pub(super) fn format_change() -> FileProblem {
    malformed(
        "its sample rate or number of channels changes within the file: send its parts as files of their own, or \
         convert it to WAV, for instance with `ffmpeg -i FILE out.wav`",
    )
}
