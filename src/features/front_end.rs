//! The tables of a front end, and the features of whole recordings.
//!
//! Input: MFCC options and the sample rate.
//! Output: tables that are built once by [`FrontEnd::new`] and shared; each thread creates its own
//! [`FrameComputer`].

use std::sync::Arc;

use super::check::within;
use super::dct::Dct;
use super::gather::Gather;
use super::mel::MelFilterbank;
use super::spectrum::Spectrum;
use super::{FrameComputer, Log, MfccOptions, OptionsError, deltas};

/// What a frame consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// `n_mfcc` cepstral coefficients.
    Mfcc,
    /// `n_mels` logarithmic mel energies.
    LogMel,
}

/// The tables of one front end. Clones share the tables.
#[derive(Clone)]
pub struct FrontEnd(pub(super) Arc<Tables>);

/// The tables, in the order in which a frame passes through them.
pub(super) struct Tables {
    pub options: MfccOptions,
    pub gather: Gather,
    pub spectrum: Spectrum,
    pub filterbank: MelFilterbank,
    pub logarithm: Logarithm,
    /// `None` for log-mel frames.
    pub dct: Option<Dct>,
}

/// The logarithm of mel energies: `scale · ln(guarded energy)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logarithm {
    pub guard: ZeroGuard,
    pub scale: f32,
}

/// What keeps the logarithm of silence finite: `max(x, floor)` or `x + offset`.
#[derive(Debug, Clone, Copy)]
pub(super) enum ZeroGuard {
    Floor(f32),
    Offset(f32),
}

impl FrontEnd {
    /// Builds the tables for audio at `sample_rate_hz`.
    ///
    /// # Errors
    /// The first option that is not allowed for this rate and kind of frame.
    pub fn new(options: &MfccOptions, sample_rate_hz: u32, kind: FrameKind) -> Result<Self, OptionsError> {
        options.check(sample_rate_hz)?;
        let dct = match kind {
            FrameKind::Mfcc => {
                within("n_mfcc", options.n_mfcc, 1, options.n_mels)?;
                Some(Dct::new(options.n_mels, options.n_mfcc, options.dct_norm))
            }
            FrameKind::LogMel => None,
        };
        let spectrum = Spectrum::new(options);
        Ok(Self(Arc::new(Tables {
            gather: Gather::new(options, spectrum.sample_rows(), spectrum.scale()),
            spectrum,
            filterbank: MelFilterbank::new(options, sample_rate_hz),
            logarithm: Logarithm::new(options),
            dct,
            options: options.clone(),
        })))
    }

    /// Returns the options that the tables were built from.
    pub fn options(&self) -> &MfccOptions {
        &self.0.options
    }

    /// Returns the number of samples of one frame.
    pub fn n_fft(&self) -> usize {
        self.0.options.n_fft
    }

    /// Returns the number of samples from one frame to the next.
    pub fn hop_length(&self) -> usize {
        self.0.options.hop_length
    }

    /// Returns the number of values of one frame without deltas.
    pub fn width(&self) -> usize {
        if self.0.dct.is_some() { self.0.options.n_mfcc } else { self.0.options.n_mels }
    }

    /// Returns the number of values of one frame with deltas.
    pub fn coefficients(&self) -> usize {
        self.width() * (1 + self.0.options.deltas)
    }

    /// Returns the number of frames that lie completely inside `samples` samples.
    pub fn frames(&self, samples: usize) -> usize {
        if samples < self.n_fft() { 0 } else { 1 + (samples - self.n_fft()) / self.hop_length() }
    }

    /// Creates a frame computer for one thread.
    pub fn computer(&self) -> FrameComputer {
        FrameComputer::new(self.clone())
    }
}

impl Logarithm {
    fn new(options: &MfccOptions) -> Self {
        let guard = match (options.log_floor, options.log_offset) {
            (Some(floor), _) => ZeroGuard::Floor(floor as f32),
            (None, offset) => ZeroGuard::Offset(offset.unwrap_or_default() as f32),
        };
        let scale = match options.log {
            Log::Ln => 1.0,
            Log::Db => 10.0 / std::f32::consts::LN_10,
        };
        Self { guard, scale }
    }
}

impl std::fmt::Debug for FrontEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("FrontEnd").field(&self.0.options).finish()
    }
}

/// Returns all frames that lie completely inside `samples`, without deltas, as `[frames, width]`. The result
/// is empty where there are fewer than `n_fft` samples.
pub fn features(front_end: &FrontEnd, samples: &[f32]) -> Vec<f32> {
    let mut frames = vec![0.0; front_end.frames(samples.len()) * front_end.width()];
    front_end.computer().frames(samples, &mut frames);
    frames
}

/// Returns all frames that lie completely inside `samples` with their deltas, as `[frames, coefficients]`.
/// The deltas are computed over these frames alone.
pub fn features_with_deltas(front_end: &FrontEnd, samples: &[f32]) -> Vec<f32> {
    let frames = features(front_end, samples);
    let mut out = vec![0.0; front_end.frames(samples.len()) * front_end.coefficients()];
    deltas::append_deltas(front_end, &frames, &mut out);
    out
}
