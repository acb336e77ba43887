//! From samples to rows of lanes: weighed under the taper, one frame a lane.
//!
//! In: the samples of up to as many frames as there are lanes. Out: rows, each with the same sample of every frame, at
//! the places that the transform wants. InstructionSet without a frame of their own repeat the last frame. Never mixes lanes.

use super::{MfccOptions, taper};
use crate::lanes::{Simd, subtract_product};

/// Samples of a frame that are moved at once.
const TILE: usize = 4;

/// The tables of one front end.
#[derive(Debug)]
pub(super) struct Gather {
    /// `win_length` weights, for the samples from `start` on.
    taper: Vec<f32>,
    /// As many ones.
    ones: Vec<f32>,
    win_length: usize,
    start: usize,
    /// The row of every sample of a frame.
    places: Vec<usize>,
    remove_dc: bool,
    pre_emphasis: Option<f32>,
}

impl Gather {
    /// The tables for rows at `places` (`n_fft` of them), samples being scaled by `scale`.
    pub fn new(options: &MfccOptions, places: Vec<usize>, scale: f64) -> Self {
        let weights = taper::taper(options.window, options.win_length);
        Self {
            taper: weights.iter().map(|weight| (weight * scale) as f32).collect(),
            ones: vec![1.0; options.win_length],
            win_length: options.win_length,
            start: (options.n_fft - options.win_length) / 2,
            places,
            remove_dc: options.remove_dc,
            pre_emphasis: options.pre_emphasis.map(|coefficient| coefficient as f32),
        }
    }

    /// Fills `rows`. Lane `l` gets the frame that begins at `l · hop_length`, up to the `count`-th.
    #[inline(always)]
    pub fn fill<S: Simd>(&self, simd: S, samples: &[f32], framing: Framing, rows: &mut [f32]) {
        let under_taper = self.start..self.start + self.win_length;
        for place in self.places[..under_taper.start].iter().chain(&self.places[under_taper.end..]) {
            rows[place * S::F32_LANES..(place + 1) * S::F32_LANES].fill(0.0);
        }
        let places = &self.places[under_taper];
        if !self.remove_dc && self.pre_emphasis.is_none() {
            return self.transpose::<S>(samples, framing, places, &self.taper, rows);
        }
        self.transpose::<S>(samples, framing, places, &self.ones, rows);
        let rows = S::as_mut_simd_f32s(rows).0;
        if self.remove_dc {
            remove_mean(simd, places, rows);
        }
        if let Some(coefficient) = self.pre_emphasis {
            pre_emphasise(simd, places, coefficient, rows);
        }
        for (place, weight) in places.iter().zip(&self.taper) {
            rows[*place] = simd.mul_f32s(rows[*place], simd.splat_f32s(*weight));
        }
    }

    /// Moves the samples, times `weights`, to their rows, in tiles of four samples of four frames.
    #[inline(always)]
    fn transpose<S: Simd>(
        &self,
        samples: &[f32],
        framing: Framing,
        places: &[usize],
        weights: &[f32],
        rows: &mut [f32],
    ) {
        let (place_tiles, last_places) = places.as_chunks::<TILE>();
        let (weight_tiles, last_weights) = weights.as_chunks::<TILE>();
        for first_lane in (0..S::F32_LANES).step_by(TILE) {
            let mut frames = [samples; TILE];
            for (lane, frame) in (first_lane..).zip(&mut frames) {
                let from = lane.min(framing.count - 1) * framing.hop_length + self.start;
                *frame = &samples[from..from + self.win_length];
            }
            let [(a, _), (b, _), (c, _), (d, _)] = frames.map(<[f32]>::as_chunks::<TILE>);
            let tiles = a.iter().zip(b).zip(c).zip(d);
            for (((((a, b), c), d), weights), places) in tiles.zip(weight_tiles).zip(place_tiles) {
                for i in 0..TILE {
                    let w = weights[i];
                    let at = places[i] * S::F32_LANES + first_lane;
                    rows[at..at + TILE].copy_from_slice(&[a[i] * w, b[i] * w, c[i] * w, d[i] * w]);
                }
            }
            let done = self.win_length - last_places.len();
            for (i, (place, weight)) in last_places.iter().zip(last_weights).enumerate() {
                for (lane, frame) in frames.iter().enumerate() {
                    rows[place * S::F32_LANES + first_lane + lane] = frame[done + i] * weight;
                }
            }
        }
    }
}

/// Which frames of the samples are meant: the first `count` of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    /// At least 1; beyond the number of lanes, the rest is left for later.
    pub count: usize,
    pub hop_length: usize,
}

/// Subtracts each frame's mean under the taper.
#[inline(always)]
fn remove_mean<S: Simd>(simd: S, places: &[usize], rows: &mut [S::f32s]) {
    let mut sum = simd.splat_f32s(0.0);
    for place in places {
        sum = simd.add_f32s(sum, rows[*place]);
    }
    let mean = simd.div_f32s(sum, simd.splat_f32s(places.len() as f32));
    for place in places {
        rows[*place] = simd.sub_f32s(rows[*place], mean);
    }
}

/// `x[i] − c·x[i−1]`, the first sample taken as its own predecessor (Kaldi's `Preemphasize`).
#[inline(always)]
fn pre_emphasise<S: Simd>(simd: S, places: &[usize], coefficient: f32, rows: &mut [S::f32s]) {
    let coefficient = simd.splat_f32s(coefficient);
    for i in (0..places.len()).rev() {
        let before = rows[places[i.saturating_sub(1)]];
        rows[places[i]] = subtract_product(simd, coefficient, before, rows[places[i]]);
    }
}
