//! The type-2 discrete cosine transform as a small matrix.

use std::f64::consts::PI;

use super::DctNorm;

/// The transform as `[n_mels, n_mfcc]`, so that a frame is a sum of rows weighted by its mel energies.
///
/// `scipy.fft.dct(type=2)`: entry `(n, k)` is `2·cos(πk(2n+1)/2N)`, times `√(1/4N)` (first column) or `√(1/2N)`
/// where it is orthonormal.
pub(super) fn dct(n_mels: usize, n_mfcc: usize, norm: DctNorm) -> Vec<f32> {
    let length = n_mels as f64;
    let scale = |k: usize| match (norm, k) {
        (DctNorm::None, _) => 2.0,
        (DctNorm::Ortho, 0) => (1.0 / length).sqrt(),
        (DctNorm::Ortho, _) => (2.0 / length).sqrt(),
    };
    let entry = |n: usize, k: usize| scale(k) * (PI * k as f64 * (2 * n + 1) as f64 / (2.0 * length)).cos();
    (0..n_mels).flat_map(|n| (0..n_mfcc).map(move |k| entry(n, k) as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthonormal_columns() {
        let (n_mels, n_mfcc) = (40, 13);
        let matrix = dct(n_mels, n_mfcc, DctNorm::Ortho);
        for a in 0..n_mfcc {
            for b in 0..n_mfcc {
                let dot: f32 = (0..n_mels).map(|n| matrix[n * n_mfcc + a] * matrix[n * n_mfcc + b]).sum();
                assert!((dot - f32::from(a == b)).abs() < 1e-5, "columns {a} and {b}: {dot}");
            }
        }
    }
}
