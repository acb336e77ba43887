//! Window geometry: the arithmetic between the source samples of a stream and the windows at the model's
//! rate.
//!
//! Input: sample rates, window length and hop.
//! Output: starts and ends of windows, and the first source sample that a window depends on.
//! Invariants: all indexes are absolute and all arithmetic uses integers, so a window lies at the same
//! position wherever a reader began.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::GeometryError;
use super::Options;
use crate::model::{Contract, Input};

/// The longest time from the start of one window to the start of the next.
pub const MAX_HOP: Duration = Duration::from_secs(60);

/// Length and hop of the windows of one model, in samples at the model's rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowGeometry {
    /// Sample rate of the model, in hertz.
    pub sample_rate_hz: u32,
    /// Samples of one window.
    pub length: u64,
    /// Samples from one window to the next.
    pub hop: u64,
    /// Samples from one frame to the next; divides `length` and `hop`. 1 for models that take samples.
    pub frame_hop: u64,
    /// Samples of one frame; 1 for models that take samples.
    pub frame_length: u64,
    /// Samples of the shortest partial window, at least one frame.
    pub min_length: u64,
}

/// Length and hop of windows as time. Window indexes are comparable only between equal spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpan {
    /// Time from the start of a window to its end.
    pub length: Duration,
    /// Time from the start of a window to the start of the next one.
    pub hop: Duration,
}

impl WindowGeometry {
    /// Creates the windows of a model under a configuration.
    ///
    /// # Errors
    /// [`GeometryError::Hop`] where `window.hop` is not a whole number of frames or above [`MAX_HOP`]; [`GeometryError::NoFrontEnd`] for
    /// models that take frames and have no MFCC options.
    pub fn new(contract: &Contract, window: &Options) -> Result<Self, GeometryError> {
        let (frame_hop, frame_length) = match (&contract.mfcc, contract.input) {
            (_, Input::Waveform) => (1, 1),
            (Some(mfcc), _) => (mfcc.hop_length as u64, mfcc.n_fft as u64),
            (None, _) => return Err(GeometryError::NoFrontEnd { model: contract.name.clone() }),
        };
        let rate = contract.sample_rate_hz;
        let hop = match window.hop {
            None => contract.window.hop_samples as u64,
            Some(hop) => {
                let exact = (hop.as_nanos() * u128::from(rate)).is_multiple_of(1_000_000_000);
                Some(whole_samples(hop, rate))
                    .filter(|samples| exact && *samples > 0 && samples.is_multiple_of(frame_hop))
                    .filter(|_| hop <= MAX_HOP)
                    .ok_or(GeometryError::Hop { hop, frame: time_of(frame_hop, rate) })?
            }
        };
        Ok(Self {
            sample_rate_hz: rate,
            length: contract.window.length_samples as u64,
            hop,
            frame_hop,
            frame_length,
            min_length: whole_samples(window.min_length, rate).max(frame_length),
        })
    }

    /// Returns the same windows, with every partial window allowed that holds a frame. Evaluation and
    /// training use it, because every clip must have at least one window.
    #[must_use]
    pub fn any_length(mut self) -> Self {
        self.min_length = self.frame_length;
        self
    }

    /// Returns length and hop as time.
    #[must_use]
    pub fn span(&self) -> WindowSpan {
        let time = |samples| time_of(samples, self.sample_rate_hz);
        WindowSpan { length: time(self.length), hop: time(self.hop) }
    }

    /// Returns the number of frames of a complete window.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames_in(self.length)
    }

    /// Returns the number of frames that lie completely inside the first `samples` samples of a window.
    #[must_use]
    pub fn frames_in(&self, samples: u64) -> usize {
        if samples < self.frame_length {
            return 0;
        }
        1 + ((samples - self.frame_length) / self.frame_hop) as usize
    }

    /// Returns the index of the first sample of window `index`.
    #[must_use]
    pub fn start(&self, index: u64) -> u64 {
        index * self.hop
    }

    /// Returns the index of the sample behind the last one of window `index`.
    #[must_use]
    pub fn end(&self, index: u64) -> u64 {
        self.start(index) + self.length
    }

    /// Returns the index of the first frame of window `index`, counted from the start of the stream.
    #[must_use]
    pub fn first_frame(&self, index: u64) -> u64 {
        self.start(index) / self.frame_hop
    }

    /// Returns the first window that starts at or after the source sample `position`.
    #[must_use]
    pub fn first_window_from(&self, position: u64, source_rate_hz: u32) -> u64 {
        let step = u128::from(self.hop) * u128::from(source_rate_hz);
        narrow((u128::from(position) * u128::from(self.sample_rate_hz)).div_ceil(step))
    }

    /// Returns the first source sample that window `index` depends on, where the resampler uses `half_width`
    /// source samples on each side of an output.
    #[must_use]
    pub fn needed_from(&self, index: u64, source_rate_hz: u32, half_width: u64) -> u64 {
        let start =
            u128::from(self.start(index)) * u128::from(source_rate_hz) / u128::from(self.sample_rate_hz);
        narrow(start).saturating_sub(half_width)
    }
}

/// Converts `samples` at `rate_hz` to time, rounded down to nanoseconds.
///
/// # Panics
/// Where `rate_hz` is 0.
#[must_use]
pub fn time_of(samples: u64, rate_hz: u32) -> Duration {
    let rate = u64::from(rate_hz);
    Duration::new(samples / rate, ((samples % rate) * 1_000_000_000 / rate) as u32)
}

/// Converts a time to whole milliseconds, at most `u64::MAX`.
#[must_use]
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Converts a time to samples at `rate_hz`, rounded to the nearest.
#[must_use]
pub fn whole_samples(time: Duration, rate_hz: u32) -> u64 {
    narrow((time.as_nanos() * u128::from(rate_hz) + 500_000_000) / 1_000_000_000)
}

/// Converts to 64 bits and saturates.
fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
