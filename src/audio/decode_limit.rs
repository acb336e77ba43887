//! How much a file may decode to, and who observes it grow.
//!
//! Input: the length of a recording as it grows. Output: nothing, or why decoding ends. Invariant: every decoder reports before it stores samples, so
//! that a small file cannot take memory or time beyond its limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::FileProblem;

/// Receives the bytes that the samples of a recording take, and may end the decoding.
type Observer = dyn Fn(usize) -> Result<(), FileProblem> + Send + Sync;

/// The limit of one decoding. Cheap to clone.
#[derive(Clone)]
pub struct DecodeLimit {
    /// The most samples, summed over all channels.
    samples: usize,
    duration: Duration,
    observer: Option<Arc<Observer>>,
}

impl DecodeLimit {
    /// No limit, for the files of the operator.
    pub const NONE: Self = Self { samples: usize::MAX, duration: Duration::MAX, observer: None };

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

    /// The same limit, where `observer` receives the bytes of the samples before they are stored, and may end the decoding.
    #[must_use]
    pub fn observed(
        self,
        observer: impl Fn(usize) -> Result<(), FileProblem> + Send + Sync + 'static,
    ) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// Checks a recording that has `frames` samples in each of its channels.
    ///
    /// # Errors
    /// [`FileProblem::TooLong`] or [`FileProblem::TooLongInTime`] beyond the limit, or what the observer returns.
    pub(super) fn check(&self, rate_hz: u32, channels: usize, frames: usize) -> Result<(), FileProblem> {
        let samples = frames.saturating_mul(channels);
        if samples > self.samples {
            return Err(FileProblem::TooLong { limit: self.samples });
        }
        if frames as f64 > self.duration.as_secs_f64() * f64::from(rate_hz) {
            return Err(FileProblem::TooLongInTime { limit: self.duration });
        }
        let bytes = samples.saturating_mul(size_of::<f32>());
        self.observer.as_ref().map_or(Ok(()), |observer| observer(bytes))
    }
}

impl fmt::Debug for DecodeLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, duration, .. } = self;
        out.debug_struct("DecodeLimit")
            .field("samples", samples)
            .field("duration", duration)
            .finish_non_exhaustive()
    }
}
