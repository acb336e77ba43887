//! The tables of a front end, and whole recordings through it.
//!
//! In: options. Out: tables, built once by [`FrontEnd::new`] and shared; a thread takes its own [`FrameComputer`]
//! from them.

use std::sync::Arc;

use super::check::within;
use super::dct::Dct;
use super::gather::Gather;
use super::mel::MelFilterbank;
use super::spectrum::Spectrum;
use super::{FrameComputer, Log, MfccOptions, OptionsError, deltas};

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// `n_mfcc` cepstral coefficients.
    Mfcc,
    /// `n_mels` logarithmic mel energies.
    LogMel,
}

/// The tables of one front end; a clone shares them.
#[derive(Clone)]
pub struct FrontEnd(pub(super) Arc<Tables>);

pub(super) struct Tables {
    pub options: MfccOptions,
    pub gather: Gather,
    pub spectrum: Spectrum,
    pub filterbank: MelFilterbank,
    pub logarithm: Logarithm,
    /// `None` for log-mel frames.
    pub dct: Option<Dct>,
}

/// `scale · ln(guarded)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logarithm {
    pub guard: Guard,
    pub scale: f32,
}

/// What keeps the logarithm of silence finite.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guard {
    Floor(f32),
    Offset(f32),
}

impl FrontEnd {
    /// Builds the tables for audio at `sample_rate_hz`.
    ///
    /// # Errors
    /// The first option found that no such front end can be built from.
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
            gather: Gather::new(options, spectrum.places(), spectrum.scale()),
            spectrum,
            filterbank: MelFilterbank::new(options, sample_rate_hz),
            logarithm: Logarithm::new(options),
            dct,
            options: options.clone(),
        })))
    }

    /// The options that the tables were built from.
    pub fn options(&self) -> &MfccOptions {
        &self.0.options
    }

    /// Samples that one frame spans.
    pub fn n_fft(&self) -> usize {
        self.0.options.n_fft
    }

    /// Samples from one frame to the next.
    pub fn hop_length(&self) -> usize {
        self.0.options.hop_length
    }

    /// Values of one frame before deltas.
    pub fn width(&self) -> usize {
        if self.0.dct.is_some() { self.0.options.n_mfcc } else { self.0.options.n_mels }
    }

    /// Values of one frame with its deltas.
    pub fn coefficients(&self) -> usize {
        self.width() * (1 + self.0.options.deltas)
    }

    /// Number of frames wholly inside `samples` samples.
    pub fn frames(&self, samples: usize) -> usize {
        if samples < self.n_fft() { 0 } else { 1 + (samples - self.n_fft()) / self.hop_length() }
    }

    /// A computer for one thread.
    pub fn computer(&self) -> FrameComputer {
        FrameComputer::new(self.clone())
    }
}

impl Logarithm {
    fn new(options: &MfccOptions) -> Self {
        let guard = match (options.log_floor, options.log_offset) {
            (Some(floor), _) => Guard::Floor(floor as f32),
            (None, offset) => Guard::Offset(offset.unwrap_or_default() as f32),
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

/// All frames wholly inside `samples`, without deltas: `[frames, width]` in one piece, empty below `n_fft`
/// samples.
pub fn features(front_end: &FrontEnd, samples: &[f32]) -> Vec<f32> {
    let mut frames = vec![0.0; front_end.frames(samples.len()) * front_end.width()];
    front_end.computer().frames(samples, &mut frames);
    frames
}

/// All frames wholly inside `samples` with their deltas, taken over these frames alone:
/// `[frames, coefficients]`.
pub fn features_with_deltas(front_end: &FrontEnd, samples: &[f32]) -> Vec<f32> {
    let frames = features(front_end, samples);
    let mut out = vec![0.0; front_end.frames(samples.len()) * front_end.coefficients()];
    deltas::append_deltas(front_end, &frames, &mut out);
    out
}
