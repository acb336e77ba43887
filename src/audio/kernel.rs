//! The low-pass filter of the resampler: a sinc under a Kaiser window, as a function of continuous time.
//!
//! The window and its design formulas are those of Oppenheim and Schafer, Discrete-Time Signal Processing,
//! section 7.5.3: with β = 9 the stop band is attenuated by 90 dB, and with 40 zero crossings on each side
//! the transition band is 0.144 times the cutoff wide.

use std::f64::consts::PI;

/// The shape parameter β of the Kaiser window.
const BETA: f64 = 9.0;

/// For a lower target rate, the transition band is centred on the new Nyquist frequency: what aliases stays
/// above 0.93 of the band.
const DOWNSAMPLING: Shape = Shape { zero_crossings: 40.0, cutoff: 1.0 };
/// For a higher target rate, no image may appear above the old Nyquist frequency, and telephone speech must
/// pass up to 0.95 of it. The transition band therefore ends at the old Nyquist frequency and is half as
/// wide: from 0.92 to 1.0 of the band, with half the amplitude at 0.957. These are the band edges of SoX at
/// "very high quality".
const UPSAMPLING: Shape = Shape { zero_crossings: 80.0, cutoff: 0.957 };

/// The steepness of the low-pass and the position of its cutoff.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Zero crossings of the sinc on each side.
    zero_crossings: f64,
    /// The frequency with half the amplitude, as a fraction of the lower Nyquist frequency.
    cutoff: f64,
}

/// The impulse response of the low-pass, which can be evaluated at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    /// The frequency with half the amplitude, in cycles per input sample; at most 0.5.
    cutoff: f64,
    /// Zero crossings of the sinc on each side.
    zero_crossings: f64,
}

impl Kernel {
    /// Creates the low-pass for a target rate that is `rate` times the source rate.
    pub(super) fn new(rate: f64) -> Self {
        let Shape { zero_crossings, cutoff } = if rate < 1.0 { DOWNSAMPLING } else { UPSAMPLING };
        Self { cutoff: cutoff * rate.min(1.0) / 2.0, zero_crossings }
    }

    /// Returns the number of input samples on each side after which the response is zero.
    pub(super) fn half_width(self) -> f64 {
        self.zero_crossings / (2.0 * self.cutoff)
    }

    /// Returns the response `time` input samples from its middle.
    pub(super) fn at(self, time: f64) -> f64 {
        let position = time / self.half_width();
        if position.abs() >= 1.0 {
            return 0.0;
        }
        let window = bessel_i0(BETA * (1.0 - position * position).sqrt()) / bessel_i0(BETA);
        2.0 * self.cutoff * sinc(2.0 * self.cutoff * time) * window
    }
}

/// The normalised sinc, `sin(πx) / πx`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The modified Bessel function of the first kind and order 0, by its power series `Σ ((x/2)^k / k!)²`.
fn bessel_i0(x: f64) -> f64 {
    let quarter_square = x * x / 4.0;
    let (mut term, mut sum) = (1.0, 1.0);
    let mut k = 1.0;
    while term > sum * 1e-16 {
        term *= quarter_square / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_function_equals_the_tabulated_values() {
        // Abramowitz and Stegun, table 9.8.
        for (x, expected) in [(0.0, 1.0), (1.0, 1.266_065_878), (5.0, 27.239_871_82)] {
            assert!((bessel_i0(x) / expected - 1.0).abs() < 1e-9, "I0({x})");
        }
    }

    #[test]
    fn zero_crossings_follow_from_the_cutoff() {
        let kernel = Kernel::new(0.5);
        assert_eq!((kernel.half_width(), kernel.at(0.0)), (80.0, 0.5));
        assert!((1..45).all(|time| kernel.at(f64::from(2 * time)).abs() < 1e-15));
        assert!((Kernel::new(2.0).half_width() - 83.595).abs() < 1e-3);
    }
}
