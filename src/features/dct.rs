//! The discrete cosine transform of type 2 as a small matrix product, folded in half.
//!
//! Input: rows of logarithmic mel energies, one frame per lane.
//! Output: rows of cepstral coefficients.
//!
//! A column of the matrix is symmetric about its middle for even coefficients and antisymmetric for odd ones.
//! Sums and differences of mirrored rows are therefore computed once, and half of the products remain.

use std::f64::consts::PI;

use super::DctNorm;
use crate::simd::{Simd, multiply_add};

/// Coefficients that are summed together: enough independent sums to hide the latency of a multiply-add.
const BLOCK: usize = 8;

/// The tables of one transform.
#[derive(Debug)]
pub(super) struct Dct {
    n_mels: usize,
    blocks: Vec<Block>,
}

/// Up to `BLOCK` coefficients of the same parity.
#[derive(Debug)]
struct Block {
    odd: bool,
    /// The lowest coefficient; the others follow in steps of two.
    first: usize,
    count: usize,
    /// `weights[n][i]` is the weight of mel band `n` in the coefficient `i` of the block; 0 where the block
    /// has fewer.
    weights: Vec<[f32; BLOCK]>,
}

impl Dct {
    /// Builds the tables for the first `n_mfcc` coefficients of `scipy.fft.dct(type=2)`.
    pub fn new(n_mels: usize, n_mfcc: usize, norm: DctNorm) -> Self {
        let mut blocks = Vec::new();
        for parity in 0..2 {
            for first in (parity..n_mfcc).step_by(2 * BLOCK) {
                let count = (n_mfcc - first).div_ceil(2).min(BLOCK);
                let rows = if parity == 0 { n_mels.div_ceil(2) } else { n_mels / 2 };
                let weight =
                    |n, i| if i < count { entry(n_mels, norm, n, first + 2 * i) as f32 } else { 0.0 };
                let weights = (0..rows).map(|n| std::array::from_fn(|i| weight(n, i))).collect();
                blocks.push(Block { odd: parity == 1, first, count, weights });
            }
        }
        Self { n_mels, blocks }
    }

    /// Transforms `mel` (`n_mels` rows, which are overwritten) into `out` (`n_mfcc` rows).
    #[inline(always)]
    pub fn apply<S: Simd>(&self, simd: S, mel: &mut [S::f32s], out: &mut [S::f32s]) {
        let (low, high) = mel[..self.n_mels].split_at_mut(self.n_mels.div_ceil(2));
        for (a, b) in low.iter_mut().zip(high.iter_mut().rev()) {
            (*a, *b) = (simd.add_f32s(*a, *b), simd.sub_f32s(*a, *b));
        }
        for block in &self.blocks {
            let mut sums = [simd.splat_f32s(0.0); BLOCK];
            if block.odd {
                for (weights, row) in block.weights.iter().zip(high.iter().rev()) {
                    add_row(simd, &mut sums, weights, *row);
                }
            } else {
                for (weights, row) in block.weights.iter().zip(low.iter()) {
                    add_row(simd, &mut sums, weights, *row);
                }
            }
            let coefficients = out[block.first..].iter_mut().step_by(2);
            for (coefficient, sum) in coefficients.take(block.count).zip(sums) {
                *coefficient = sum;
            }
        }
    }
}

/// Adds a row of energies, weighted for each coefficient, to the sums.
#[inline(always)]
fn add_row<S: Simd>(simd: S, sums: &mut [S::f32s; BLOCK], weights: &[f32; BLOCK], row: S::f32s) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum = multiply_add(simd, simd.splat_f32s(*weight), row, *sum);
    }
}

/// Returns the matrix element of band `n` and coefficient `k`: `2·cos(πk(2n+1)/2N)`, times `√(1/4N)` for `k =
/// 0` or `√(1/2N)` for the others where the transform is orthonormal (`norm="ortho"` of SciPy).
fn entry(n_mels: usize, norm: DctNorm, n: usize, k: usize) -> f64 {
    let length = n_mels as f64;
    let scale = match (norm, k) {
        (DctNorm::None, _) => 2.0,
        (DctNorm::Ortho, 0) => (1.0 / length).sqrt(),
        (DctNorm::Ortho, _) => (2.0 / length).sqrt(),
    };
    scale * (PI * k as f64 * (2 * n + 1) as f64 / (2.0 * length)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{InstructionSet, SimdRows, WithSimd};

    struct Transform(Dct, usize);

    impl WithSimd for Transform {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let Self(dct, n_mfcc) = self;
            let (mut mel, mut out) = (SimdRows::new(dct.n_mels), SimdRows::new(n_mfcc));
            for (n, row) in mel.values().chunks_exact_mut(S::F32_LANES).take(dct.n_mels).enumerate() {
                row.fill(energy(n));
            }
            dct.apply(simd, mel.vectors::<S>(), out.vectors::<S>());
            out.values().iter().step_by(S::F32_LANES).take(n_mfcc).copied().collect()
        }
    }

    fn energy(n: usize) -> f32 {
        ((n * 7 + 3) % 11) as f32 - 5.0
    }

    #[test]
    fn the_folded_transform_equals_the_plain_sum() {
        for (n_mels, n_mfcc) in [(1, 1), (2, 2), (3, 2), (23, 13), (23, 23), (40, 40), (64, 37), (128, 1)] {
            for norm in [DctNorm::Ortho, DctNorm::None] {
                let folded = InstructionSet::detect().run(Transform(Dct::new(n_mels, n_mfcc, norm), n_mfcc));
                for (k, value) in folded.iter().enumerate() {
                    let plain: f64 =
                        (0..n_mels).map(|n| f64::from(energy(n)) * entry(n_mels, norm, n, k)).sum();
                    let error = (f64::from(*value) - plain).abs();
                    assert!(error < 1e-3, "{n_mels} bands, coefficient {k}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_columns_of_the_ortho_norm_are_orthonormal() {
        let column = |k| (0..40).map(move |n| entry(40, DctNorm::Ortho, n, k));
        for (a, b) in (0..13).flat_map(|a| (0..13).map(move |b| (a, b))) {
            let dot: f64 = column(a).zip(column(b)).map(|(x, y)| x * y).sum();
            assert!((dot - f64::from(u8::from(a == b))).abs() < 1e-12, "columns {a} and {b}: {dot}");
        }
    }
}
