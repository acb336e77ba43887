//! Window functions, called tapers here: the weights of a frame's samples before the Fourier transform.

use std::f64::consts::TAU;

use super::Taper;

/// Returns the `win_length` weights of a window function.
///
/// Hann and Hamming are periodic (`scipy.signal.get_window(fftbins=True)`); Povey's window is symmetric, as
/// in Kaldi.
pub(super) fn taper(shape: Taper, win_length: usize) -> Vec<f64> {
    let periodic = TAU / win_length as f64;
    let symmetric = TAU / (win_length - 1) as f64;
    let weight = |i: usize| match shape {
        Taper::Hann => 0.5 - 0.5 * (periodic * i as f64).cos(),
        Taper::Hamming => 0.54 - 0.46 * (periodic * i as f64).cos(),
        // Rounding may bring the cosine above 1, and a negative base has no real power.
        Taper::Povey => (0.5 - 0.5 * (symmetric * i as f64).cos()).max(0.0).powf(0.85),
    };
    (0..win_length).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hann_and_hamming_are_periodic_and_povey_is_symmetric() {
        let hann = taper(Taper::Hann, 4);
        for (weight, expected) in hann.iter().zip([0.0, 0.5, 1.0, 0.5]) {
            assert!((weight - expected).abs() < 1e-12);
        }
        let povey = taper(Taper::Povey, 5);
        assert!((povey[2] - 1.0).abs() < 1e-12);
        assert!(povey[0].abs() < 1e-12 && povey[4].abs() < 1e-12);
        assert!((taper(Taper::Hamming, 4)[0] - 0.08).abs() < 1e-12);
    }
}
