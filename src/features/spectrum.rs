//! The spectrum of weighted samples, one frame per SIMD lane.
//!
//! Input: rows of samples in the order of [`Spectrum::sample_rows`].
//! Output: `n_fft / 2 + 1` rows of magnitudes or powers.
//! Invariants: the spectrum of a frame does not depend on the frames beside it.
//!
//! Lengths composed of the factors 2, 3 and 5 are transformed in all lanes at once. Other lengths are
//! transformed frame by frame with `rustfft`.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::MfccOptions;
use super::fourier::SimdFourier;
use crate::simd::{Simd, SimdRows};

/// The tables of one front end.
pub(super) struct Spectrum {
    n_fft: usize,
    transform: Transform,
    /// Whether the mel filters are applied to magnitudes instead of powers.
    magnitudes: bool,
}

/// How a frame is transformed.
enum Transform {
    Simd(SimdFourier),
    FrameByFrame(Arc<dyn RealToComplex<f32>>),
}

/// The buffers of one thread.
pub(super) struct SpectrumScratch {
    /// `n_fft` rows of samples. The transform overwrites them.
    pub rows: SimdRows,
    /// `n_fft / 2 + 1` rows of the result.
    pub bins: SimdRows,
    /// The buffers of the transform frame by frame, where that is used.
    frame_scratch: Option<FrameScratch>,
}

/// The buffers of one frame for `rustfft`.
struct FrameScratch {
    samples: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Spectrum {
    /// Builds the tables for `n_fft`.
    pub fn new(options: &MfccOptions) -> Self {
        let n_fft = options.n_fft;
        let transform = match SimdFourier::new(n_fft) {
            Some(fourier) => Transform::Simd(fourier),
            None => Transform::FrameByFrame(RealFftPlanner::new().plan_fft_forward(n_fft)),
        };
        Self { n_fft, transform, magnitudes: options.power == 1.0 }
    }

    /// Returns the row that each sample of a frame must be written to.
    pub fn sample_rows(&self) -> Vec<usize> {
        match &self.transform {
            Transform::Simd(fourier) => fourier.permutation.clone(),
            Transform::FrameByFrame(_) => (0..self.n_fft).collect(),
        }
    }

    /// Returns the factor that samples must be multiplied by.
    pub fn scale(&self) -> f64 {
        match &self.transform {
            Transform::Simd(_) => SimdFourier::SCALE,
            Transform::FrameByFrame(_) => 1.0,
        }
    }

    /// Creates the buffers of one thread.
    pub fn scratch(&self) -> SpectrumScratch {
        let frame_scratch = match &self.transform {
            Transform::Simd(_) => None,
            Transform::FrameByFrame(fourier) => Some(FrameScratch {
                samples: fourier.make_input_vec(),
                spectrum: fourier.make_output_vec(),
                scratch: fourier.make_scratch_vec(),
            }),
        };
        let (rows, bins) = (SimdRows::new(self.n_fft), SimdRows::new(self.n_fft / 2 + 1));
        SpectrumScratch { rows, bins, frame_scratch }
    }

    /// Computes `scratch.bins` from `scratch.rows`.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, simd: S, scratch: &mut SpectrumScratch) {
        match &self.transform {
            Transform::Simd(fourier) => {
                fourier.powers(simd, scratch.rows.vectors::<S>(), scratch.bins.vectors::<S>());
            }
            Transform::FrameByFrame(fourier) => frame_by_frame::<S>(&**fourier, scratch),
        }
        if self.magnitudes {
            for bin in &mut scratch.bins.vectors::<S>()[..self.n_fft / 2 + 1] {
                *bin = simd.sqrt_f32s(*bin);
            }
        }
    }
}

/// Transforms the lanes one after the other.
#[inline(always)]
fn frame_by_frame<S: Simd>(fourier: &dyn RealToComplex<f32>, scratch: &mut SpectrumScratch) {
    let SpectrumScratch { rows, bins, frame_scratch } = scratch;
    let FrameScratch { samples, spectrum, scratch } =
        frame_scratch.as_mut().expect("the scratch belongs to this transform");
    for lane in 0..S::F32_LANES {
        for (sample, value) in samples.iter_mut().zip(rows.values()[lane..].iter().step_by(S::F32_LANES)) {
            *sample = *value;
        }
        fourier
            .process_with_scratch(samples, spectrum, scratch)
            .expect("the buffers have the lengths of this transform");
        for (bin, power) in spectrum.iter().zip(bins.values()[lane..].iter_mut().step_by(S::F32_LANES)) {
            *power = bin.norm_sqr();
        }
    }
}
