//! Gathering: from consecutive samples to rows of lanes, weighted by the window function.
//!
//! Input: the samples of up to as many frames as there are lanes.
//! Output: rows with the same sample of every frame, in the order that the Fourier transform requires.
//! Invariants: lanes are never mixed. Lanes without a frame of their own repeat the last frame, so that no
//! lane holds undefined values.

use super::{MfccOptions, taper};
use crate::simd::{Simd, subtract_product};

/// Samples of a frame, and frames, of one tile of the transposition.
const TILE: usize = 4;

/// The tables of one front end.
#[derive(Debug)]
pub(super) struct Gather {
    /// `win_length` weights of the window function, for the samples from `start` on.
    taper: Vec<f32>,
    /// `win_length` ones: the weights of the first step where samples are processed before they are weighted.
    ones: Vec<f32>,
    win_length: usize,
    /// The first sample of the frame under the window function, which is centred in the frame.
    start: usize,
    /// The row that each of the `n_fft` samples of a frame is written to.
    sample_rows: Vec<usize>,
    remove_dc: bool,
    pre_emphasis: Option<f32>,
}

impl Gather {
    /// Builds the tables. `sample_rows` has `n_fft` entries; samples are multiplied by `scale`.
    pub fn new(options: &MfccOptions, sample_rows: Vec<usize>, scale: f64) -> Self {
        let weights = taper::taper(options.window, options.win_length);
        Self {
            taper: weights.iter().map(|weight| (weight * scale) as f32).collect(),
            ones: vec![1.0; options.win_length],
            win_length: options.win_length,
            start: (options.n_fft - options.win_length) / 2,
            sample_rows,
            remove_dc: options.remove_dc,
            pre_emphasis: options.pre_emphasis.map(|coefficient| coefficient as f32),
        }
    }

    /// Fills `rows`: lane `l` receives the frame that begins at sample `l · hop_length`, up to the `count`-th
    /// frame.
    ///
    /// DC removal and pre-emphasis precede the window function, as in Kaldi. Without them the weights are
    /// applied while the samples are moved.
    #[inline(always)]
    pub fn fill<S: Simd>(&self, simd: S, samples: &[f32], framing: Framing, rows: &mut [f32]) {
        let under_taper = self.start..self.start + self.win_length;
        for row in self.sample_rows[..under_taper.start].iter().chain(&self.sample_rows[under_taper.end..]) {
            rows[row * S::F32_LANES..(row + 1) * S::F32_LANES].fill(0.0);
        }
        let sample_rows = &self.sample_rows[under_taper];
        if !self.remove_dc && self.pre_emphasis.is_none() {
            return self.transpose::<S>(samples, framing, sample_rows, &self.taper, rows);
        }
        self.transpose::<S>(samples, framing, sample_rows, &self.ones, rows);
        let rows = S::as_mut_simd_f32s(rows).0;
        if self.remove_dc {
            remove_mean(simd, sample_rows, rows);
        }
        if let Some(coefficient) = self.pre_emphasis {
            pre_emphasise(simd, sample_rows, coefficient, rows);
        }
        for (row, weight) in sample_rows.iter().zip(&self.taper) {
            rows[*row] = simd.mul_f32s(rows[*row], simd.splat_f32s(*weight));
        }
    }

    /// Writes the samples, times `weights`, to their rows.
    ///
    /// Samples are moved in tiles of four samples of four frames: moving sample by sample would write to a
    /// different cache line with every value.
    #[inline(always)]
    fn transpose<S: Simd>(
        &self,
        samples: &[f32],
        framing: Framing,
        sample_rows: &[usize],
        weights: &[f32],
        rows: &mut [f32],
    ) {
        let (row_tiles, last_rows) = sample_rows.as_chunks::<TILE>();
        let (weight_tiles, last_weights) = weights.as_chunks::<TILE>();
        for first_lane in (0..S::F32_LANES).step_by(TILE) {
            let mut frames = [samples; TILE];
            for (lane, frame) in (first_lane..).zip(&mut frames) {
                let from = lane.min(framing.count - 1) * framing.hop_length + self.start;
                *frame = &samples[from..from + self.win_length];
            }
            let [(a, _), (b, _), (c, _), (d, _)] = frames.map(<[f32]>::as_chunks::<TILE>);
            let tiles = a.iter().zip(b).zip(c).zip(d);
            for (((((a, b), c), d), weights), sample_rows) in tiles.zip(weight_tiles).zip(row_tiles) {
                for i in 0..TILE {
                    let w = weights[i];
                    let at = sample_rows[i] * S::F32_LANES + first_lane;
                    rows[at..at + TILE].copy_from_slice(&[a[i] * w, b[i] * w, c[i] * w, d[i] * w]);
                }
            }
            let done = self.win_length - last_rows.len();
            for (i, (row, weight)) in last_rows.iter().zip(last_weights).enumerate() {
                for (lane, frame) in frames.iter().enumerate() {
                    rows[row * S::F32_LANES + first_lane + lane] = frame[done + i] * weight;
                }
            }
        }
    }
}

/// The frames of a group: the first `count` frames of the samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    /// Number of frames, at least 1. Frames beyond the number of lanes are left to the next group.
    pub count: usize,
    /// Samples from one frame to the next.
    pub hop_length: usize,
}

/// Subtracts from each frame the mean of its samples under the window function (`remove_dc_offset` of Kaldi).
#[inline(always)]
fn remove_mean<S: Simd>(simd: S, sample_rows: &[usize], rows: &mut [S::f32s]) {
    let mut sum = simd.splat_f32s(0.0);
    for row in sample_rows {
        sum = simd.add_f32s(sum, rows[*row]);
    }
    let mean = simd.div_f32s(sum, simd.splat_f32s(sample_rows.len() as f32));
    for row in sample_rows {
        rows[*row] = simd.sub_f32s(rows[*row], mean);
    }
}

/// Replaces `x[i]` by `x[i] − c·x[i−1]`; the first sample is its own predecessor (`Preemphasize` of Kaldi).
/// The samples are processed from the last to the first, because each needs the original value of its
/// predecessor.
#[inline(always)]
fn pre_emphasise<S: Simd>(simd: S, sample_rows: &[usize], coefficient: f32, rows: &mut [S::f32s]) {
    let coefficient = simd.splat_f32s(coefficient);
    for i in (0..sample_rows.len()).rev() {
        let before = rows[sample_rows[i.saturating_sub(1)]];
        rows[sample_rows[i]] = subtract_product(simd, coefficient, before, rows[sample_rows[i]]);
    }
}
