//! The frame computer: from samples to MFCC or log-mel frames, one frame per SIMD lane.
//!
//! Input: samples, full scale ±1.
//! Output: frames, `[frames, width]`.
//! Invariants: a frame depends on its own `n_fft` samples only, and is equal bit by bit whatever frames are
//! computed together with it. No memory is allocated after construction.
//!
//! Frames are computed in groups of as many as the machine has lanes. The usual alternative, one frame at a
//! time with the samples of the frame in the lanes, was rejected: the Fourier transform and the mel filters
//! then have to permute and add across lanes, and the order of these sums, and with it the result, depends on
//! the width of the vectors.

use super::FrontEnd;
use super::front_end::{Logarithm, ZeroGuard};
use super::gather::Framing;
use super::logarithm::ln;
use super::spectrum::SpectrumScratch;
use crate::simd::{CountLanes, InstructionSet, Simd, SimdRows, WithSimd};

/// Computes frames. It holds the scratch buffers of one thread.
pub struct FrameComputer {
    front_end: FrontEnd,
    instructions: InstructionSet,
    spectrum: SpectrumScratch,
    mel: SimdRows,
    cepstrum: SimdRows,
}

impl FrameComputer {
    pub(super) fn new(front_end: FrontEnd) -> Self {
        let tables = &front_end.0;
        Self {
            instructions: InstructionSet::detect(),
            spectrum: tables.spectrum.scratch(),
            mel: SimdRows::new(tables.options.n_mels),
            cepstrum: SimdRows::new(tables.options.n_mfcc),
            front_end,
        }
    }

    /// Returns the front end whose frames are computed.
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// Returns how many frames are computed together. A smaller group takes as long as a full one.
    pub fn group_size(&self) -> usize {
        self.instructions.run(CountLanes)
    }

    /// Computes one frame from exactly `n_fft` samples (full scale ±1) into `out`, which holds exactly
    /// [`FrontEnd::width`] values. [`Self::frames`] is faster for several frames.
    ///
    /// # Panics
    /// Where one of the slices has another length.
    pub fn frame(&mut self, samples: &[f32], out: &mut [f32]) {
        assert_eq!(samples.len(), self.front_end.n_fft(), "a frame has n_fft samples");
        assert_eq!(out.len(), self.front_end.width(), "a frame has width values");
        self.frames(samples, out);
    }

    /// Computes as many frames as `out` has room for, as `[frames, width]`. The first frame begins with the
    /// first sample, each further one `hop_length` samples later.
    ///
    /// # Panics
    /// Where `out` is not a whole number of frames, or has room for more than [`FrontEnd::frames`] of the
    /// samples.
    pub fn frames(&mut self, samples: &[f32], out: &mut [f32]) {
        let (width, hop_length) = (self.front_end.width(), self.front_end.hop_length());
        assert!(out.len().is_multiple_of(width), "out must hold whole frames");
        let count = out.len() / width;
        assert!(count <= self.front_end.frames(samples.len()), "every frame must lie inside the samples");
        let mut done = 0;
        while done < count {
            let framing = Framing { count: count - done, hop_length };
            let (samples, out) = (&samples[done * hop_length..], &mut out[done * width..]);
            done += self.instructions.run(Group { computer: self, samples, framing, out });
        }
    }

    /// Computes one group and returns the rows of its result: one coefficient per row, one frame per lane.
    #[inline(always)]
    fn compute<S: Simd>(&mut self, simd: S, samples: &[f32], framing: Framing) -> &mut SimdRows {
        let tables = &self.front_end.0;
        tables.gather.fill(simd, samples, framing, self.spectrum.rows.values());
        tables.spectrum.apply(simd, &mut self.spectrum);
        let mel = &mut self.mel.vectors::<S>()[..tables.options.n_mels];
        tables.filterbank.apply(simd, self.spectrum.bins.vectors::<S>(), mel);
        tables.logarithm.apply(simd, mel);
        let Some(dct) = &tables.dct else { return &mut self.mel };
        dct.apply(simd, mel, self.cepstrum.vectors::<S>());
        &mut self.cepstrum
    }
}

impl std::fmt::Debug for FrameComputer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FrameComputer").field("front_end", &self.front_end).finish_non_exhaustive()
    }
}

/// Computes one group of frames: as many as there are lanes, or fewer at the end. Returns how many it
/// computed.
struct Group<'a> {
    computer: &'a mut FrameComputer,
    samples: &'a [f32],
    framing: Framing,
    out: &'a mut [f32],
}

impl WithSimd for Group<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let Self { computer, samples, framing, out } = self;
        let width = computer.front_end.width();
        let count = framing.count.min(S::F32_LANES);
        let rows = computer.compute(simd, samples, Framing { count, ..framing }).values();
        // Transposes the result: rows of lanes become frames.
        for (lane, frame) in out.chunks_exact_mut(width).take(count).enumerate() {
            for (value, row) in frame.iter_mut().zip(rows[lane..].iter().step_by(S::F32_LANES)) {
                *value = *row;
            }
        }
        count
    }
}

impl Logarithm {
    /// Replaces energies by their scaled logarithms.
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, energies: &mut [S::f32s]) {
        let scale = simd.splat_f32s(self.scale);
        for energy in energies {
            let guarded = match self.guard {
                ZeroGuard::Floor(floor) => simd.max_f32s(*energy, simd.splat_f32s(floor)),
                ZeroGuard::Offset(offset) => simd.add_f32s(*energy, simd.splat_f32s(offset)),
            };
            *energy = simd.mul_f32s(scale, ln(simd, guarded));
        }
    }
}
