//! The Fourier transform of as many real frames as the machine has SIMD lanes, one frame per lane.
//!
//! Input: rows of windowed samples; a row holds the same sample of every frame.
//! Output: rows of frequency bins, as powers.
//! Invariants: every lane performs the same arithmetic on its own frame, so the spectrum of a frame does not
//! depend on the frames beside it.
//!
//! The `n_fft` real samples are treated as `n_fft / 2` complex values (even samples are the real parts, odd
//! ones the imaginary parts). They are transformed in place by decimation in time (Cooley and Tukey, 1965)
//! with butterflies of radix 2 to 5, and the spectrum of the real samples is separated from the result at the
//! end.

use std::f64::consts::TAU;

use super::butterflies::{Complex, mul_constant, radix_2, radix_3, radix_4, radix_4_first, radix_5};
use crate::simd::{Simd, multiply_add};

/// The tables of one transform length.
#[derive(Debug)]
pub(super) struct SimdFourier {
    /// The passes, in order.
    stages: Vec<Stage>,
    /// The row that each sample of a frame is written to: digit-reversed order, from which the passes produce
    /// bins in natural order.
    pub permutation: Vec<usize>,
    /// `exp(−2πi·k / n_fft)` for the pairs of bins `k` and `n_fft / 2 − k`.
    pairs: Vec<[f32; 2]>,
}

/// One pass: transforms of `part` rows become transforms of `radix · part` rows.
#[derive(Debug)]
struct Stage {
    radix: usize,
    part: usize,
    /// The twiddle factors `exp(−2πi·j·k / (radix · part))`: `radix − 1` of them (`j` from 1) for each `k`
    /// below `part`.
    twiddles: Vec<[f32; 2]>,
}

impl SimdFourier {
    /// The factor that samples must be scaled by so that powers come out unscaled. The last step adds pairs
    /// of bins without halving them; the factor is part of the window function's table, where it costs
    /// nothing.
    pub const SCALE: f64 = 0.5;

    /// Builds the tables for `n_fft`; `None` where it is odd or has a prime factor above 5.
    pub fn new(n_fft: usize) -> Option<Self> {
        let half = n_fft.is_multiple_of(2).then_some(n_fft / 2)?;
        let radices = radices(half)?;
        let mut part = 1;
        let mut stages = Vec::with_capacity(radices.len());
        for radix in &radices {
            stages.push(Stage { radix: *radix, part, twiddles: twiddles(*radix, part) });
            part *= radix;
        }
        let permutation =
            (0..n_fft).map(|sample| 2 * digit_reversed(&radices, half, sample / 2) + sample % 2).collect();
        let pairs = (0..=half / 2).map(|k| twiddle(k, n_fft)).collect();
        Some(Self { stages, permutation, pairs })
    }

    /// Transforms `rows` in place and writes the power of each bin to `powers`.
    ///
    /// `rows` has `n_fft` rows in the order of [`Self::permutation`], `powers` has `n_fft / 2 + 1` rows.
    #[inline(always)]
    pub fn powers<S: Simd>(&self, simd: S, rows: &mut [S::f32s], powers: &mut [S::f32s]) {
        let (rows, _) = rows[..self.permutation.len()].as_chunks_mut::<2>();
        for stage in &self.stages {
            stage.run(simd, rows);
        }
        self.unpack_real(simd, rows, powers);
    }

    /// Separates the spectrum of the real samples. With the transform `E` of the even samples and `O` of the
    /// odd ones, bin `k` is `E + w·O`, and bin `n_fft / 2 − k` is the conjugate of `E − w·O`.
    #[inline(always)]
    fn unpack_real<S: Simd>(&self, simd: S, rows: &[Complex<S>], powers: &mut [S::f32s]) {
        let half = rows.len();
        for (k, twiddle) in self.pairs.iter().enumerate() {
            let (low, high) = (rows[k], rows[(half - k) % half]);
            let even = [simd.add_f32s(low[0], high[0]), simd.sub_f32s(low[1], high[1])];
            let odd = [simd.add_f32s(low[1], high[1]), simd.sub_f32s(high[0], low[0])];
            let odd = mul_constant(simd, odd, *twiddle);
            powers[k] = square(simd, [simd.add_f32s(even[0], odd[0]), simd.add_f32s(even[1], odd[1])]);
            powers[half - k] = square(simd, [simd.sub_f32s(even[0], odd[0]), simd.sub_f32s(even[1], odd[1])]);
        }
    }
}

/// Returns the squared magnitude.
#[inline(always)]
fn square<S: Simd>(simd: S, value: Complex<S>) -> S::f32s {
    multiply_add(simd, value[1], value[1], simd.mul_f32s(value[0], value[0]))
}

impl Stage {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, rows: &mut [Complex<S>]) {
        for block in rows.chunks_exact_mut(self.radix * self.part) {
            match self.radix {
                2 => radix_2(simd, block, &self.twiddles),
                3 => radix_3(simd, block, &self.twiddles),
                4 if self.part == 1 => radix_4_first(simd, block),
                4 => radix_4(simd, block, &self.twiddles),
                _ => radix_5(simd, block, &self.twiddles),
            }
        }
    }
}

/// Returns the radices whose product is `length`, or `None` where it has a prime factor above 5. Odd and
/// small radices come first: all twiddle factors of the first pass are 1, so little is gained from a large
/// radix there.
fn radices(length: usize) -> Option<Vec<usize>> {
    let (mut rest, mut radices) = (length, Vec::new());
    for radix in [5, 3] {
        while rest.is_multiple_of(radix) {
            radices.push(radix);
            rest /= radix;
        }
    }
    if !rest.is_power_of_two() {
        return None;
    }
    let twos = rest.trailing_zeros() as usize;
    radices.extend(std::iter::repeat_n(2, twos % 2));
    radices.extend(std::iter::repeat_n(4, twos / 2));
    Some(radices)
}

/// Returns the twiddle factors of a pass.
fn twiddles(radix: usize, part: usize) -> Vec<[f32; 2]> {
    (0..part).flat_map(|k| (1..radix).map(move |j| twiddle(j * k, radix * part))).collect()
}

/// Returns `exp(−2πi·k / n)`.
fn twiddle(k: usize, n: usize) -> [f32; 2] {
    let angle = TAU * k as f64 / n as f64;
    [angle.cos() as f32, -angle.sin() as f32]
}

/// Returns the digit-reversed index of element `n`, the digits being those of the mixed radices.
fn digit_reversed(radices: &[usize], length: usize, mut n: usize) -> usize {
    let (mut row, mut part) = (0, length);
    for radix in radices.iter().rev() {
        part /= radix;
        row += n % radix * part;
        n /= radix;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{InstructionSet, SimdRows, WithSimd};

    /// A different signal in each lane.
    fn sample(lane: usize, n: usize) -> f32 {
        ((n * n * (lane + 3) + 7 * n) % 101) as f32 / 50.0 - 1.0
    }

    struct Transform<'a>(&'a SimdFourier, usize);

    impl WithSimd for Transform<'_> {
        type Output = Vec<Vec<f32>>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(fourier, n_fft) = self;
            let (mut rows, mut powers) = (SimdRows::new(n_fft), SimdRows::new(n_fft / 2 + 1));
            for (n, row) in fourier.permutation.iter().enumerate() {
                for lane in 0..S::F32_LANES {
                    rows.values()[row * S::F32_LANES + lane] = 0.5 * sample(lane, n);
                }
            }
            fourier.powers(simd, rows.vectors::<S>(), powers.vectors::<S>());
            let bins = 0..=n_fft / 2;
            let lane = |lane| bins.clone().map(|bin| powers.values()[bin * S::F32_LANES + lane]).collect();
            (0..S::F32_LANES).map(lane).collect()
        }
    }

    #[test]
    fn powers_equal_those_of_the_direct_sum() {
        for n_fft in [2, 4, 6, 8, 10, 16, 32, 64, 100, 128, 250, 256, 360, 400, 480, 512, 600] {
            let fourier = SimdFourier::new(n_fft).expect("factors of 2, 3 and 5");
            for (lane, powers) in InstructionSet::detect().run(Transform(&fourier, n_fft)).iter().enumerate()
            {
                for (bin, power) in powers.iter().enumerate() {
                    let angle = |n: usize| TAU * ((bin * n) % n_fft) as f64 / n_fft as f64;
                    let value = |n| f64::from(sample(lane, n));
                    let re: f64 = (0..n_fft).map(|n| value(n) * angle(n).cos()).sum();
                    let im: f64 = (0..n_fft).map(|n| value(n) * angle(n).sin()).sum();
                    let error = (f64::from(*power) - (re * re + im * im)).abs() / n_fft as f64;
                    assert!(error < 2e-5, "n_fft {n_fft}, lane {lane}, bin {bin}: {error}");
                }
            }
        }
    }

    #[test]
    fn other_lengths_are_not_supported() {
        assert!([1, 7, 14, 441, 514, 882].iter().all(|n_fft| SimdFourier::new(*n_fft).is_none()));
    }
}
