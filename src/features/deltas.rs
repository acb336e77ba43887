//! Deltas: how the coefficients move from frame to frame.
//!
//! In: the real frames of one window. Out: the same frames with their deltas appended. Never looks at frames of
//! another window, so a replayed window gives the same values.

use super::FrontEnd;

/// Frames on each side that a delta is fitted over: `librosa.feature.delta(width=9)`.
const REACH: usize = 4;
const WIDTH: usize = 2 * REACH + 1;

/// Writes `frames` (`[n, width]`, the real frames of one window) with their deltas to `out` (`[n, coefficients]`).
///
/// A row of `out` is the frame, then its first, then its second derivative, as many as the options' `deltas`. They
/// are those of `librosa.feature.delta(width=9, mode="nearest")`: slope of a line and twice the square term of a
/// parabola, least squares over nine frames (Savitzky and Golay, 1964); the first and last frame are repeated
/// beyond the edges. The second derivative is fitted to the frames, not to the first derivative.
///
/// # Panics
/// When `frames` is not a whole number of frames, or `out` has another length than it takes.
pub fn append_deltas(front_end: &FrontEnd, frames: &[f32], out: &mut [f32]) {
    let (width, coefficients) = (front_end.width(), front_end.coefficients());
    assert!(frames.len().is_multiple_of(width), "whole frames only");
    let n = frames.len() / width;
    assert_eq!(out.len(), n * coefficients, "out takes every frame with its deltas");
    let weights = [first_derivative(), second_derivative()];
    for (t, row) in out.chunks_exact_mut(coefficients).enumerate() {
        let (still, moving) = row.split_at_mut(width);
        still.copy_from_slice(&frames[t * width..(t + 1) * width]);
        for (derivative, weights) in moving.chunks_exact_mut(width).zip(&weights) {
            derivative.fill(0.0);
            for (k, weight) in weights.iter().enumerate() {
                let neighbour = (t + k).saturating_sub(REACH).min(n - 1);
                let neighbour = &frames[neighbour * width..(neighbour + 1) * width];
                for (value, x) in derivative.iter_mut().zip(neighbour) {
                    *value += weight * x;
                }
            }
        }
    }
}

/// Position of each of the nine frames relative to the middle one.
fn positions() -> [f64; WIDTH] {
    std::array::from_fn(|k| k as f64 - REACH as f64)
}

fn first_derivative() -> [f32; WIDTH] {
    let squares: f64 = positions().iter().map(|x| x * x).sum();
    positions().map(|x| (x / squares) as f32)
}

fn second_derivative() -> [f32; WIDTH] {
    let mean_square = positions().iter().map(|x| x * x).sum::<f64>() / WIDTH as f64;
    let spread: f64 = positions().iter().map(|x| (x * x - mean_square).powi(2)).sum();
    positions().map(|x| (2.0 * (x * x - mean_square) / spread) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_has_its_own_derivatives() {
        let fit = |weights: [f32; WIDTH]| -> f32 {
            positions().iter().zip(weights).map(|(x, w)| (3.0 * x * x + 2.0 * x + 1.0) as f32 * w).sum()
        };
        assert!((fit(first_derivative()) - 2.0).abs() < 1e-5);
        assert!((fit(second_derivative()) - 6.0).abs() < 1e-5);
    }
}
