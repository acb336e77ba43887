//! From tapered samples to the spectrum that mel filters see, one frame a lane.
//!
//! In: rows of samples, at the places asked for. Out: `n_fft / 2 + 1` rows of magnitudes or powers. Lengths made of 2, 3
//! and 5 are transformed in all lanes at once; others frame by frame, by `rustfft`. Either way a frame's spectrum does
//! not depend on the frames beside it.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::MfccOptions;
use super::fourier::SimdFourier;
use crate::lanes::{Simd, SimdRows};

/// The tables of one front end.
pub(super) struct Spectrum {
    n_fft: usize,
    transform: Transform,
    /// Whether the mel filters weigh magnitudes, not powers.
    magnitudes: bool,
}

enum Transform {
    Simd(SimdFourier),
    Single(Arc<dyn RealToComplex<f32>>),
}

/// The buffers of one thread.
pub(super) struct SpectrumScratch {
    /// `n_fft` rows of samples; the transform works in place.
    pub rows: SimdRows,
    /// `n_fft / 2 + 1` rows: the result.
    pub bins: SimdRows,
    single: Option<SingleScratch>,
}

/// One frame's way through `rustfft`.
struct SingleScratch {
    samples: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Spectrum {
    pub fn new(options: &MfccOptions) -> Self {
        let n_fft = options.n_fft;
        let transform = match SimdFourier::new(n_fft) {
            Some(fourier) => Transform::Simd(fourier),
            None => Transform::Single(RealFftPlanner::new().plan_fft_forward(n_fft)),
        };
        Self { n_fft, transform, magnitudes: options.power == 1.0 }
    }

    /// The row that each sample of a frame belongs in.
    pub fn places(&self) -> Vec<usize> {
        match &self.transform {
            Transform::Simd(fourier) => fourier.places.clone(),
            Transform::Single(_) => (0..self.n_fft).collect(),
        }
    }

    /// What the samples must be scaled by.
    pub fn scale(&self) -> f64 {
        match &self.transform {
            Transform::Simd(_) => SimdFourier::SCALE,
            Transform::Single(_) => 1.0,
        }
    }

    pub fn scratch(&self) -> SpectrumScratch {
        let single = match &self.transform {
            Transform::Simd(_) => None,
            Transform::Single(fourier) => Some(SingleScratch {
                samples: fourier.make_input_vec(),
                spectrum: fourier.make_output_vec(),
                scratch: fourier.make_scratch_vec(),
            }),
        };
        let (rows, bins) = (SimdRows::new(self.n_fft), SimdRows::new(self.n_fft / 2 + 1));
        SpectrumScratch { rows, bins, single }
    }

    /// Turns `scratch.rows` into `scratch.bins`.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, simd: S, scratch: &mut SpectrumScratch) {
        match &self.transform {
            Transform::Simd(fourier) => {
                fourier.powers(simd, scratch.rows.vectors::<S>(), scratch.bins.vectors::<S>());
            }
            Transform::Single(fourier) => single::<S>(&**fourier, scratch),
        }
        if self.magnitudes {
            for bin in &mut scratch.bins.vectors::<S>()[..self.n_fft / 2 + 1] {
                *bin = simd.sqrt_f32s(*bin);
            }
        }
    }
}

#[inline(always)]
fn single<S: Simd>(fourier: &dyn RealToComplex<f32>, scratch: &mut SpectrumScratch) {
    let SpectrumScratch { rows, bins, single } = scratch;
    let SingleScratch { samples, spectrum, scratch } = single.as_mut().expect("made for this transform");
    for lane in 0..S::F32_LANES {
        for (sample, value) in samples.iter_mut().zip(rows.values()[lane..].iter().step_by(S::F32_LANES)) {
            *sample = *value;
        }
        fourier.process_with_scratch(samples, spectrum, scratch).expect("the transform made these buffers");
        for (bin, power) in spectrum.iter().zip(bins.values()[lane..].iter_mut().step_by(S::F32_LANES)) {
            *power = bin.norm_sqr();
        }
    }
}
