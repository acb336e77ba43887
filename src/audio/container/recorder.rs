//! Receives decoded packets, and stores, counts or passes on the samples that belong to the recording.
//!
//! Input: decoded packets, one buffer per channel, and the samples to be removed from either end.
//! Output: a [`Decoded`] within a [`DecodeLimit`].
//! Invariants: rate and number of channels are within the limits and do not change within a recording. A file that is decoded
//! twice is decoded in the same way, so the ranges that the first pass counts are those that the second one passes on.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::decode::is_valid_sample;
use super::super::format::{check_channels, check_sample_rate};
use super::super::{DecodeLimit, FileProblem};
use super::steps::pause;
use super::{Decoded, malformed};

/// Samples that a decoder has passed on and its caller has not taken yet, one buffer of equal length per channel. Clones share them; a decoder does not run
/// while its caller takes them.
#[derive(Debug, Clone, Default)]
pub(in crate::audio) struct Passed(Arc<Mutex<Vec<Vec<f32>>>>);

/// The samples that were decoded so far, and what becomes of them.
pub(in crate::audio) struct Recorder {
    limit: DecodeLimit,
    decoded: Decoded,
    /// Samples per channel that were appended, those that were removed again included.
    appended: usize,
    output: Output,
}

/// What becomes of the samples.
enum Output {
    Store,
    Count {
        /// The first value that is no sample: its index within all appended samples, its channel and itself.
        invalid: Option<(usize, usize, f32)>,
    },
    Pass {
        /// The ranges of the recording, which an earlier pass has counted.
        kept: Arc<[Range<usize>]>,
        passed: Passed,
    },
}

impl Passed {
    /// Returns the samples per channel.
    pub(in crate::audio) fn frames(&self) -> usize {
        self.with(|channels| channels.first().map_or(0, Vec::len))
    }

    /// Takes the samples.
    pub(in crate::audio) fn take(&self) -> Vec<Vec<f32>> {
        self.with(std::mem::take)
    }

    /// Appends the part `range` of each channel of a block.
    fn append(&self, block: &[Vec<f32>], range: &Range<usize>) {
        self.with(|channels| {
            channels.resize_with(block.len(), Vec::new);
            for (channel, block) in channels.iter_mut().zip(block) {
                channel.extend_from_slice(&block[range.clone()]);
            }
        });
    }

    fn with<T>(&self, run: impl FnOnce(&mut Vec<Vec<f32>>) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recorder {
    /// Creates a recorder that stores up to `limit`.
    pub(in crate::audio) fn storing(limit: &DecodeLimit) -> Self {
        Self::new(limit, Output::Store)
    }

    /// Creates a recorder that counts up to `limit` and stores nothing.
    pub(in crate::audio) fn counting(limit: &DecodeLimit) -> Self {
        Self::new(limit, Output::Count { invalid: None })
    }

    /// Creates a recorder that passes the samples in `kept` on.
    pub(in crate::audio) fn passing(kept: Arc<[Range<usize>]>, passed: Passed) -> Self {
        Self::new(&DecodeLimit::NONE, Output::Pass { kept, passed })
    }

    fn new(limit: &DecodeLimit, output: Output) -> Self {
        Self { limit: limit.clone(), decoded: Decoded::default(), appended: 0, output }
    }

    /// Returns the samples per channel that were appended and not removed.
    pub(in crate::audio) fn frames(&self) -> usize {
        self.decoded.frames
    }

    /// Returns the samples per second of one channel; zero where nothing was appended.
    pub(in crate::audio) fn rate_hz(&self) -> u32 {
        self.decoded.rate_hz
    }

    /// Declares a recording of `frames` samples per channel before the first of them are appended.
    ///
    /// # Errors
    /// A rate or a number of channels outside the limits; a recording beyond its limit.
    pub(in crate::audio) fn expect(
        &mut self,
        rate_hz: u32,
        channels: usize,
        frames: usize,
    ) -> Result<(), FileProblem> {
        self.check_format(rate_hz, channels)?;
        self.limit.check(rate_hz, channels, frames)?;
        if matches!(self.output, Output::Store) {
            self.decoded.channels.iter_mut().for_each(|channel| channel.reserve_exact(frames));
        }
        Ok(())
    }

    /// Appends one buffer of equal length per channel, and pauses the decoder.
    ///
    /// # Errors
    /// A rate or a number of channels outside the limits or unlike the one before; a recording that grows beyond its limit.
    pub(in crate::audio) async fn append(
        &mut self,
        rate_hz: u32,
        channels: &[Vec<f32>],
    ) -> Result<(), FileProblem> {
        self.record(rate_hz, channels)?;
        pause().await;
        Ok(())
    }

    fn record(&mut self, rate_hz: u32, channels: &[Vec<f32>]) -> Result<(), FileProblem> {
        self.check_format(rate_hz, channels.len())?;
        let frames = channels[0].len();
        self.limit.check(rate_hz, channels.len(), self.frames() + frames)?;
        let range = self.appended..self.appended + frames;
        match &mut self.output {
            Output::Store => {
                for (channel, block) in self.decoded.channels.iter_mut().zip(channels) {
                    channel.extend_from_slice(block);
                }
            }
            Output::Count { invalid } => {
                *invalid = invalid.or_else(|| {
                    let (index, channel, value) = first_invalid(channels)?;
                    Some((range.start + index, channel, value))
                });
            }
            Output::Pass { kept, passed } => pass(kept, range.clone(), channels, passed),
        }
        self.appended = range.end;
        self.decoded.keep(range);
        Ok(())
    }

    /// Appends `frames` zeros to every channel; nothing where no packet was appended before.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(in crate::audio) async fn append_silence(&mut self, frames: usize) -> Result<(), FileProblem> {
        let silence = vec![vec![0.0; frames]; self.decoded.count];
        if silence.is_empty() { Ok(()) } else { self.append(self.decoded.rate_hz, &silence).await }
    }

    /// Removes `start` samples from the beginning and `end` samples from the end of every channel.
    pub(in crate::audio) fn trim(&mut self, start: usize, end: usize) {
        self.decoded.trim(start, end);
        for channel in &mut self.decoded.channels {
            channel.truncate(channel.len().saturating_sub(end));
            channel.drain(..start.min(channel.len()));
        }
    }

    /// Returns the recording.
    ///
    /// # Errors
    /// [`FileProblem::NoSamples`] where it is empty; [`FileProblem::NotASample`] where it holds a value that is no sample and
    /// its samples are not passed on.
    pub(in crate::audio) fn finish(self) -> Result<Decoded, FileProblem> {
        let decoded = self.decoded;
        if decoded.frames == 0 {
            return Err(FileProblem::NoSamples);
        }
        let invalid = match self.output {
            Output::Store => first_invalid(&decoded.channels),
            Output::Count { invalid } => invalid
                .and_then(|(appended, channel, value)| Some((decoded.index_of(appended)?, channel, value))),
            Output::Pass { .. } => None,
        };
        match invalid {
            Some((index, channel, value)) => Err(FileProblem::NotASample { index, channel, value }),
            None => Ok(decoded),
        }
    }

    /// Notes the format of the first packet, and compares that of a later one with it.
    fn check_format(&mut self, rate_hz: u32, channels: usize) -> Result<(), FileProblem> {
        let decoded = &mut self.decoded;
        if decoded.count == 0 {
            check_format(rate_hz, channels)?;
            *decoded = Decoded { rate_hz, count: channels, ..Decoded::default() };
            decoded.channels.resize_with(channels, Vec::new);
        }
        if (decoded.rate_hz, decoded.count) == (rate_hz, channels) { Ok(()) } else { Err(format_change()) }
    }
}

/// Passes on the parts of a block that lie in `kept`. `range` is that of the block.
fn pass(kept: &[Range<usize>], range: Range<usize>, block: &[Vec<f32>], passed: &Passed) {
    let first = kept.partition_point(|kept| kept.end <= range.start);
    for kept in kept[first..].iter().take_while(|kept| kept.start < range.end) {
        let common = kept.start.max(range.start) - range.start..kept.end.min(range.end) - range.start;
        passed.append(block, &common);
    }
}

/// Returns the first value of the first channel that has one that is no sample: its index, its channel and itself.
fn first_invalid(channels: &[Vec<f32>]) -> Option<(usize, usize, f32)> {
    channels.iter().enumerate().find_map(|(channel, samples)| {
        let index = samples.iter().position(|value| !is_valid_sample(*value))?;
        Some((index, channel, samples[index]))
    })
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

#[cfg(test)]
mod tests {
    use super::super::steps::run;
    use super::*;

    /// Appends blocks of 5, 3 and 4 samples, where samples are removed behind the second one and at the end.
    fn record(mut recorder: Recorder) -> Decoded {
        let block =
            |range: Range<u8>| [range.clone().map(f32::from).collect(), range.map(f32::from).collect()];
        run(recorder.append(8_000, &block(0..5))).unwrap();
        run(recorder.append(8_000, &block(5..8))).unwrap();
        recorder.trim(0, 2);
        assert_eq!(recorder.frames(), 6);
        run(recorder.append(8_000, &block(8..12))).unwrap();
        recorder.trim(1, 1);
        recorder.finish().unwrap()
    }

    #[test]
    fn both_passes_keep_what_a_stored_recording_keeps() {
        let stored = record(Recorder::storing(&DecodeLimit::NONE));
        assert_eq!(stored.channels[0], [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 9.0, 10.0]);
        let counted = record(Recorder::counting(&DecodeLimit::NONE));
        assert_eq!((&counted.kept[..], counted.frames), (&[1..6, 8..11][..], 8));
        let passed = Passed::default();
        record(Recorder::passing(counted.kept.into(), passed.clone()));
        assert_eq!(passed.frames(), 8);
        assert_eq!(passed.take(), stored.channels);
        assert_eq!(passed.frames(), 0);
    }

    #[test]
    fn more_samples_are_removed_than_there_are() {
        let mut recorder = Recorder::counting(&DecodeLimit::NONE);
        run(recorder.append(8_000, &[vec![0.0; 2]])).unwrap();
        recorder.trim(1, 9);
        assert_eq!(recorder.finish().unwrap_err(), FileProblem::NoSamples);
    }
}
