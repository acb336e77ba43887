//! How much a file may decode to.
//!
//! Input: the length of a recording as it grows. Output: nothing, or why decoding ends. Invariant: every decoder checks before it stores samples, so
//! that a small file cannot take memory or time beyond its limit.

use std::time::Duration;

use super::FileProblem;

/// The limit of one decoding.
#[derive(Debug, Clone)]
pub struct DecodeLimit {
    /// The most samples, summed over all channels.
    samples: usize,
    duration: Duration,
}

impl DecodeLimit {
    /// No limit, for the files of the operator.
    pub const NONE: Self = Self { samples: usize::MAX, duration: Duration::MAX };

    /// A number of samples, summed over all channels.
    #[must_use]
    pub fn samples(samples: usize) -> Self {
        Self { samples, ..Self::NONE }
    }

    /// The same limit, and at most `duration` (`audio.max_file_duration`).
    #[must_use]
    pub fn with_duration(self, duration: Duration) -> Self {
        Self { duration, ..self }
    }

    /// Checks a recording that has `frames` samples in each of its channels.
    ///
    /// # Errors
    /// [`FileProblem::TooLong`] or [`FileProblem::TooLongInTime`] beyond the limit.
    pub(super) fn check(&self, rate_hz: u32, channels: usize, frames: usize) -> Result<(), FileProblem> {
        let samples = frames.saturating_mul(channels);
        if samples > self.samples {
            return Err(FileProblem::TooLong { limit: self.samples });
        }
        if frames as f64 > self.duration.as_secs_f64() * f64::from(rate_hz) {
            return Err(FileProblem::TooLongInTime { limit: self.duration });
        }
        Ok(())
    }
}
