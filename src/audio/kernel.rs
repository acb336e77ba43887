//! The resampler's low-pass: a sinc under Kaiser's window, as a function of time.
//!
//! Kaiser's formulas as in Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5.3: with β = 9 the
//! stop band lies 90 dB down, and 40 zero crossings a side make the transition 0.144 times the cutoff wide.

use std::f64::consts::PI;

/// Shape of Kaiser's window.
const BETA: f64 = 9.0;

/// Downwards the transition lies about the new half rate: what folds back stays above 0.93 of the band.
const DOWNWARDS: Shape = Shape { zero_crossings: 40.0, cutoff: 1.0 };
/// Upwards nothing may mirror about the old half rate and telephone speech is wanted up to 0.95 of it, so the transition
/// ends there and is half as wide: 0.92 to 1.0 of the band, halved at 0.957. These are SoX's "very high quality" edges.
const UPWARDS: Shape = Shape { zero_crossings: 80.0, cutoff: 0.957 };

/// How steep the low-pass is, and where.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Zero crossings of the sinc on each side.
    zero_crossings: f64,
    /// Where the response is halved, in parts of half the lower rate.
    cutoff: f64,
}

/// A low-pass that is sampled at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    /// Cutoff in cycles a sample, at most 0.5: here the response is halved.
    cutoff: f64,
    zero_crossings: f64,
}

impl Kernel {
    /// The low-pass between a rate and `rate` times it.
    pub(super) fn new(rate: f64) -> Self {
        let Shape { zero_crossings, cutoff } = if rate < 1.0 { DOWNWARDS } else { UPWARDS };
        Self { cutoff: cutoff * rate.min(1.0) / 2.0, zero_crossings }
    }

    /// Samples on each side after which the kernel is zero.
    pub(super) fn half_width(self) -> f64 {
        self.zero_crossings / (2.0 * self.cutoff)
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
    fn crossings_lie_where_the_cutoff_says() {
        let kernel = Kernel::new(0.5);
        assert_eq!((kernel.half_width(), kernel.at(0.0)), (80.0, 0.5));
        assert!((1..45).all(|time| kernel.at(f64::from(2 * time)).abs() < 1e-15));
        assert!((Kernel::new(2.0).half_width() - 83.595).abs() < 1e-3);
    }
}
