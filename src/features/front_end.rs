//! From the samples of one frame to its coefficients.
//!
//! In: `n_fft` samples, full scale ±1. Out: MFCC or log-mel values of that frame. Tables are built once by
//! [`FrontEnd::new`]; a thread takes its own [`FrameComputer`], which allocates nothing after that. Never looks
//! beyond the frame it is given.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::check::within;
use super::{Log, MelFilterbank, MfccOptions, OptionsError, dct, deltas, taper};

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
pub struct FrontEnd(Arc<Tables>);

struct Tables {
    options: MfccOptions,
    /// `win_length` weights, for the samples from `taper_start` on.
    taper: Vec<f32>,
    taper_start: usize,
    fourier: Arc<dyn RealToComplex<f32>>,
    filterbank: MelFilterbank,
    guard: Guard,
    /// `[n_mels, n_mfcc]`; `None` for log-mel frames.
    dct: Option<Vec<f32>>,
}

/// What keeps the logarithm of silence finite.
#[derive(Debug, Clone, Copy)]
enum Guard {
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
                Some(dct::dct(options.n_mels, options.n_mfcc, options.dct_norm))
            }
            FrameKind::LogMel => None,
        };
        let guard = match (options.log_floor, options.log_offset) {
            (Some(floor), _) => Guard::Floor(floor as f32),
            (None, offset) => Guard::Offset(offset.unwrap_or_default() as f32),
        };
        Ok(Self(Arc::new(Tables {
            taper: taper::taper(options.window, options.win_length).iter().map(|w| *w as f32).collect(),
            taper_start: (options.n_fft - options.win_length) / 2,
            fourier: RealFftPlanner::new().plan_fft_forward(options.n_fft),
            filterbank: MelFilterbank::new(options, sample_rate_hz),
            guard,
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
        let fourier = &self.0.fourier;
        FrameComputer {
            tapered: fourier.make_input_vec(),
            spectrum: fourier.make_output_vec(),
            scratch: fourier.make_scratch_vec(),
            energies: vec![0.0; self.0.options.n_fft / 2 + 1],
            mel: vec![0.0; self.0.options.n_mels],
            front_end: self.clone(),
        }
    }
}

impl std::fmt::Debug for FrontEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("FrontEnd").field(&self.0.options).finish()
    }
}

/// Computes frames one at a time; holds the scratch of one thread.
#[derive(Debug)]
pub struct FrameComputer {
    front_end: FrontEnd,
    /// `n_fft` samples, zero outside the taper.
    tapered: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// The spectrum's magnitudes to the power of `power`.
    energies: Vec<f32>,
    mel: Vec<f32>,
}

impl FrameComputer {
    /// The front end whose frames this computes.
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// Computes the frame of exactly `n_fft` `samples` (full scale ±1) into `out`, exactly
    /// [`FrontEnd::width`] values.
    ///
    /// # Panics
    /// When either slice has another length.
    pub fn frame(&mut self, samples: &[f32], out: &mut [f32]) {
        assert_eq!(samples.len(), self.front_end.n_fft(), "a frame spans n_fft samples");
        assert_eq!(out.len(), self.front_end.width(), "a frame holds width values");
        self.weigh(samples);
        self.transform();
        let tables = &self.front_end.0;
        let Some(dct) = &tables.dct else {
            tables.filterbank.apply(&self.energies, out);
            return tables.logarithms(out);
        };
        tables.filterbank.apply(&self.energies, &mut self.mel);
        tables.logarithms(&mut self.mel);
        out.fill(0.0);
        for (energy, row) in self.mel.iter().zip(dct.chunks_exact(out.len())) {
            for (coefficient, weight) in out.iter_mut().zip(row) {
                *coefficient += energy * weight;
            }
        }
    }

    /// Kaldi's order: mean out, pre-emphasis, taper, all on the `win_length` samples under the taper.
    fn weigh(&mut self, samples: &[f32]) {
        let Tables { options, taper, taper_start, .. } = &*self.front_end.0;
        let under_taper = *taper_start..taper_start + taper.len();
        // The transform uses its input as scratch, so the padding is zeroed each time.
        self.tapered.fill(0.0);
        let weighed = &mut self.tapered[under_taper.clone()];
        weighed.copy_from_slice(&samples[under_taper]);
        if options.remove_dc {
            let mean = weighed.iter().sum::<f32>() / weighed.len() as f32;
            weighed.iter_mut().for_each(|sample| *sample -= mean);
        }
        if let Some(coefficient) = options.pre_emphasis {
            pre_emphasise(weighed, coefficient as f32);
        }
        for (sample, weight) in weighed.iter_mut().zip(taper) {
            *sample *= weight;
        }
    }

    fn transform(&mut self) {
        let tables = &self.front_end.0;
        tables
            .fourier
            .process_with_scratch(&mut self.tapered, &mut self.spectrum, &mut self.scratch)
            .expect("the buffers were made by the transform itself");
        let magnitudes = tables.options.power == 1.0;
        for (energy, bin) in self.energies.iter_mut().zip(&self.spectrum) {
            let squared = bin.norm_sqr();
            *energy = if magnitudes { squared.sqrt() } else { squared };
        }
    }
}

/// `x[i] − c·x[i−1]`, the first sample taken as its own predecessor (Kaldi's `Preemphasize`).
fn pre_emphasise(samples: &mut [f32], coefficient: f32) {
    for i in (1..samples.len()).rev() {
        samples[i] -= coefficient * samples[i - 1];
    }
    if let Some(first) = samples.first_mut() {
        *first -= coefficient * *first;
    }
}

impl Tables {
    fn logarithms(&self, energies: &mut [f32]) {
        for energy in energies {
            let guarded = match self.guard {
                Guard::Floor(floor) => energy.max(floor),
                Guard::Offset(offset) => *energy + offset,
            };
            *energy = match self.options.log {
                Log::Ln => guarded.ln(),
                Log::Db => 10.0 * guarded.log10(),
            };
        }
    }
}

/// All frames wholly inside `samples`, without deltas: `[frames, width]` in one piece, empty below `n_fft`
/// samples.
pub fn features(front_end: &FrontEnd, samples: &[f32]) -> Vec<f32> {
    let (width, n_fft) = (front_end.width(), front_end.n_fft());
    let mut computer = front_end.computer();
    let mut frames = vec![0.0; front_end.frames(samples.len()) * width];
    for (frame, out) in frames.chunks_exact_mut(width).enumerate() {
        let start = frame * front_end.hop_length();
        computer.frame(&samples[start..start + n_fft], out);
    }
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
