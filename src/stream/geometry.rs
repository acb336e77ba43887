//! Where windows lie: the arithmetic between a stream's own samples and the model's, all in absolute indexes.
//!
//! In: rates, window length and hop. Out: starts, ends, and the first source sample that a window needs.
//! Invariant: whole numbers only, so a window lies in the same place wherever a reader began.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SetupError;
use crate::config;
use crate::model::{Contract, Input};

/// Length and hop of the windows of one model, in samples at the model's rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowGeometry {
    /// Sample rate of the model's audio.
    pub sample_rate_hz: u32,
    /// Samples of one window.
    pub length: u64,
    /// Samples from one window to the next.
    pub hop: u64,
    /// Samples from one frame to the next; divides `length` and `hop`. 1 where the model takes samples.
    pub frame_hop: u64,
    /// Samples that one frame spans; 1 where the model takes samples.
    pub frame_length: u64,
    /// The shortest partial window, never below one frame.
    pub min_length: u64,
}

/// Length and hop of windows as time. Where they differ, the same index means another window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpan {
    /// From a window's start to its end.
    pub length: Duration,
    /// From one window's start to the next one's.
    pub hop: Duration,
}

impl WindowGeometry {
    /// The windows of a model under a configuration.
    ///
    /// # Errors
    /// Names `window.hop` where it is not a whole number of frames, and models without a front end.
    pub fn new(contract: &Contract, window: &config::Window) -> Result<Self, SetupError> {
        let (frame_hop, frame_length) = match (&contract.mfcc, contract.input) {
            (_, Input::Waveform) => (1, 1),
            (Some(mfcc), _) => (mfcc.hop_length as u64, mfcc.n_fft as u64),
            (None, _) => return Err(SetupError::NoFrontEnd { model: contract.name.clone() }),
        };
        let rate = contract.sample_rate_hz;
        let hop = match window.hop {
            None => contract.window.hop_samples as u64,
            Some(hop) => {
                let exact = (hop.as_nanos() * u128::from(rate)).is_multiple_of(1_000_000_000);
                Some(whole_samples(hop, rate))
                    .filter(|samples| exact && *samples > 0 && samples.is_multiple_of(frame_hop))
                    .ok_or(SetupError::Hop { hop, frame: time_of(frame_hop, rate) })?
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

    /// The same windows, where any partial window that holds a frame counts: evaluation and training give every clip
    /// at least one window.
    #[must_use]
    pub fn any_length(mut self) -> Self {
        self.min_length = self.frame_length;
        self
    }

    /// Length and hop as time.
    #[must_use]
    pub fn span(&self) -> WindowSpan {
        let time = |samples| time_of(samples, self.sample_rate_hz);
        WindowSpan { length: time(self.length), hop: time(self.hop) }
    }

    /// Frames wholly inside one full window.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames_in(self.length)
    }

    /// Frames wholly inside the first `samples` samples of a window.
    #[must_use]
    pub fn frames_in(&self, samples: u64) -> usize {
        if samples < self.frame_length {
            return 0;
        }
        1 + ((samples - self.frame_length) / self.frame_hop) as usize
    }

    /// First sample of window `index`.
    #[must_use]
    pub fn start(&self, index: u64) -> u64 {
        index * self.hop
    }

    /// Sample behind the last one of window `index`.
    #[must_use]
    pub fn end(&self, index: u64) -> u64 {
        self.start(index) + self.length
    }

    /// First frame of window `index`, counted from the stream's start.
    #[must_use]
    pub fn first_frame(&self, index: u64) -> u64 {
        self.start(index) / self.frame_hop
    }

    /// First window that starts at or after the source sample `position`.
    #[must_use]
    pub fn first_window_from(&self, position: u64, source_rate_hz: u32) -> u64 {
        let step = u128::from(self.hop) * u128::from(source_rate_hz);
        narrow((u128::from(position) * u128::from(self.sample_rate_hz)).div_ceil(step))
    }

    /// First source sample that window `index` needs, where the resampler reaches `half_width` source samples to each side.
    #[must_use]
    pub fn needed_from(&self, index: u64, source_rate_hz: u32, half_width: u64) -> u64 {
        let start =
            u128::from(self.start(index)) * u128::from(source_rate_hz) / u128::from(self.sample_rate_hz);
        narrow(start).saturating_sub(half_width)
    }
}

/// `samples` at `rate_hz` as time, to the nanosecond below.
#[must_use]
pub fn time_of(samples: u64, rate_hz: u32) -> Duration {
    let rate = u64::from(rate_hz);
    Duration::new(samples / rate, ((samples % rate) * 1_000_000_000 / rate) as u32)
}

/// `time` in samples at `rate_hz`, rounded to the nearest.
#[must_use]
pub fn whole_samples(time: Duration, rate_hz: u32) -> u64 {
    narrow((time.as_nanos() * u128::from(rate_hz) + 500_000_000) / 1_000_000_000)
}

fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
