//! Delta features: the derivatives of the coefficients over time.
//!
//! Input: the real frames of one window, without padding.
//! Output: the same frames with their deltas appended.
//! Invariants: only frames of the same window are used, so a window that is computed again has the same
//! values. At the edges the first and last frame of the window are repeated, although the stream may have
//! earlier frames.

use super::FrontEnd;

/// Frames on each side that a derivative is fitted over: `librosa.feature.delta(width=9)`.
const HALF_WIDTH: usize = 4;
/// Frames that a derivative is fitted over.
const WIDTH: usize = 2 * HALF_WIDTH + 1;

/// Writes `frames` (`[n, width]`, the real frames of one window) with their deltas to `out` (`[n,
/// coefficients]`).
///
/// A row of `out` is the frame, then its first and second derivative, as many as
/// [`super::MfccOptions::deltas`]. They are those of `librosa.feature.delta(width=9, mode="nearest")`, a
/// Savitzky-Golay filter (Savitzky and Golay, 1964): the slope of a line and twice the quadratic coefficient
/// of a parabola, each fitted by least squares to nine frames. The second derivative is fitted to the frames,
/// not to the first derivative.
///
/// # Panics
/// Where `frames` is not a whole number of frames, or the length of `out` is not `n·coefficients`.
pub fn append_deltas(front_end: &FrontEnd, frames: &[f32], out: &mut [f32]) {
    let (width, coefficients) = (front_end.width(), front_end.coefficients());
    assert!(frames.len().is_multiple_of(width), "frames must be whole");
    let n = frames.len() / width;
    assert_eq!(out.len(), n * coefficients, "out must have room for every frame with its deltas");
    let weights = [first_derivative(), second_derivative()];
    for (t, row) in out.chunks_exact_mut(coefficients).enumerate() {
        let (statics, derivatives) = row.split_at_mut(width);
        statics.copy_from_slice(&frames[t * width..(t + 1) * width]);
        for (derivative, weights) in derivatives.chunks_exact_mut(width).zip(&weights) {
            derivative.fill(0.0);
            for (k, weight) in weights.iter().enumerate() {
                let neighbour = (t + k).saturating_sub(HALF_WIDTH).min(n - 1);
                let neighbour = &frames[neighbour * width..(neighbour + 1) * width];
                for (value, x) in derivative.iter_mut().zip(neighbour) {
                    *value += weight * x;
                }
            }
        }
    }
}

/// Returns the position of each of the nine frames relative to the middle one.
fn positions() -> [f64; WIDTH] {
    std::array::from_fn(|k| k as f64 - HALF_WIDTH as f64)
}

/// Returns the weights of the slope: `x / Σx²`.
fn first_derivative() -> [f32; WIDTH] {
    let squares: f64 = positions().iter().map(|x| x * x).sum();
    positions().map(|x| (x / squares) as f32)
}

/// Returns the weights of the second derivative: `2·(x² − m) / Σ(x² − m)²`, where `m` is the mean of `x²`.
fn second_derivative() -> [f32; WIDTH] {
    let mean_square = positions().iter().map(|x| x * x).sum::<f64>() / WIDTH as f64;
    let spread: f64 = positions().iter().map(|x| (x * x - mean_square).powi(2)).sum();
    positions().map(|x| (2.0 * (x * x - mean_square) / spread) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivatives_of_a_parabola_are_exact() {
        let fit = |weights: [f32; WIDTH]| -> f32 {
            positions().iter().zip(weights).map(|(x, w)| (3.0 * x * x + 2.0 * x + 1.0) as f32 * w).sum()
        };
        assert!((fit(first_derivative()) - 2.0).abs() < 1e-5);
        assert!((fit(second_derivative()) - 6.0).abs() < 1e-5);
    }
}
