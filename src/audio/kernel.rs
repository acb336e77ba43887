//! The resampler's low-pass: a sinc under Kaiser's window, as a function of time.
//!
//! Kaiser's formulas as in Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5.3: with β = 9 the
//! stop band lies 90 dB down, and 40 zero crossings a side make the transition 0.144 times the cutoff wide.

use std::f64::consts::PI;

/// Shape of Kaiser's window.
const BETA: f64 = 9.0;
/// Zero crossings of the sinc on each side.
const ZERO_CROSSINGS: f64 = 40.0;

/// A low-pass that is sampled at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    /// Cutoff in cycles a sample, at most 0.5: here the response is halved.
    cutoff: f64,
}

impl Kernel {
    /// The low-pass at half of `rate` times the sample rate, with `rate` at most 1.
    pub(super) fn new(rate: f64) -> Self {
        Self { cutoff: rate / 2.0 }
    }

    /// Samples on each side after which the kernel is zero.
    pub(super) fn half_width(self) -> f64 {
        ZERO_CROSSINGS / (2.0 * self.cutoff)
    }

    /// The kernel's value `time` samples from its middle.
    pub(super) fn at(self, time: f64) -> f64 {
        let position = time / self.half_width();
        if position.abs() >= 1.0 {
            return 0.0;
        }
        let window = bessel_i0(BETA * (1.0 - position * position).sqrt()) / bessel_i0(BETA);
        2.0 * self.cutoff * sinc(2.0 * self.cutoff * time) * window
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The modified Bessel function of the first kind and order 0, by its power series.
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
    fn bessel_is_the_tabulated_one() {
        // Abramowitz and Stegun, table 9.8.
        for (x, expected) in [(0.0, 1.0), (1.0, 1.266_065_878), (5.0, 27.239_871_82)] {
            assert!((bessel_i0(x) / expected - 1.0).abs() < 1e-9, "I0({x})");
        }
    }

    #[test]
    fn full_rate_passes_samples_as_they_are() {
        let kernel = Kernel::new(1.0);
        assert_eq!(kernel.half_width(), 40.0);
        assert_eq!(kernel.at(0.0), 1.0);
        assert!((1..45).all(|time| kernel.at(f64::from(time)).abs() < 1e-15));
    }
}
