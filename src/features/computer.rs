//! From samples to frames, as many at once as the machine has lanes.
//!
//! In: samples, full scale ±1. Out: MFCC or log-mel values, frame after frame. A frame is the same bit by bit whatever
//! frames are computed with it. Allocates nothing after it was made; never looks beyond a frame's own samples.

use super::FrontEnd;
use super::front_end::{Guard, Logarithm};
use super::gather::Framing;
use super::logarithm::ln;
use super::spectrum::SpectrumScratch;
use crate::lanes::{CountLanes, InstructionSet, Simd, SimdRows, WithSimd};

/// Computes frames; holds the scratch of one thread.
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

    /// The front end whose frames this computes.
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// How many frames this machine computes at once; fewer take as long.
    pub fn at_once(&self) -> usize {
        self.instructions.run(CountLanes)
    }

    /// Computes the frame of exactly `n_fft` `samples` (full scale ±1) into `out`, exactly
    /// [`FrontEnd::width`] values. Many frames at once are faster: see [`Self::frames`].
    ///
    /// # Panics
    /// When either slice has another length.
    pub fn frame(&mut self, samples: &[f32], out: &mut [f32]) {
        assert_eq!(samples.len(), self.front_end.n_fft(), "a frame spans n_fft samples");
        assert_eq!(out.len(), self.front_end.width(), "a frame holds width values");
        self.frames(samples, out);
    }

    /// Computes as many frames as `out` has room for, the first from the beginning of `samples` and each `hop_length` later
    /// than the one before: `[frames, width]`.
    ///
    /// # Panics
    /// When `out` is not a whole number of frames, or has room for more than [`FrontEnd::frames`] of the samples.
    pub fn frames(&mut self, samples: &[f32], out: &mut [f32]) {
        let (width, hop_length) = (self.front_end.width(), self.front_end.hop_length());
        assert!(out.len().is_multiple_of(width), "whole frames only");
        let count = out.len() / width;
        assert!(count <= self.front_end.frames(samples.len()), "every frame lies inside the samples");
        let mut done = 0;
        while done < count {
            let framing = Framing { count: count - done, hop_length };
            let (samples, out) = (&samples[done * hop_length..], &mut out[done * width..]);
            done += self.instructions.run(Group { computer: self, samples, framing, out });
        }
    }

    /// The rows of the result, still one frame a lane.
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

/// As many frames as there are lanes, fewer where fewer are left. Gives how many it computed.
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
        for (lane, frame) in out.chunks_exact_mut(width).take(count).enumerate() {
            for (value, row) in frame.iter_mut().zip(rows[lane..].iter().step_by(S::F32_LANES)) {
                *value = *row;
            }
        }
        count
    }
}

impl Logarithm {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, energies: &mut [S::f32s]) {
        let scale = simd.splat_f32s(self.scale);
        for energy in energies {
            let guarded = match self.guard {
                Guard::Floor(floor) => simd.max_f32s(*energy, simd.splat_f32s(floor)),
                Guard::Offset(offset) => simd.add_f32s(*energy, simd.splat_f32s(offset)),
            };
            *energy = simd.mul_f32s(scale, ln(simd, guarded));
        }
    }
}
