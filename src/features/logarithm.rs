//! The natural logarithm of a vector.
//!
//! Input: positive normal numbers.
//! Output: their logarithms, with an error of at most 1e-7, relative or, near 1, absolute. Infinity and NaN
//! are returned unchanged.

use crate::simd::{Simd, multiply_add, subtract_product};

/// The number of bits below the exponent of an f32.
const EXPONENT_SHIFT: u32 = 23;
const MANTISSA: u32 = (1 << EXPONENT_SHIFT) - 1;
/// The bits of √½. Mantissas are reduced to the range from there to √2, where the polynomial is accurate.
const SQRT_HALF: u32 = 0x3f35_04f3;
/// The bits of 2²³. A float of this magnitude has a unit of 1 in its last place, so or-ing an integer into
/// its mantissa converts the integer to a float.
const TWO_POW_23: u32 = 0x4b00_0000;
/// ln 2 as a sum of two parts. The first has so few digits that its product with an exponent is exact (Cody
/// and Waite).
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// The polynomial of Cephes' `logf` (Moshier, 1989), `ln(1 + x) ≈ x − x²/2 + x³·p(x)`, with the highest power
/// first.
const P: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_87e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_7e-1,
    2.000_071_4e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];

/// Returns the natural logarithm of each lane.
#[inline(always)]
pub(super) fn ln<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(value);
    // The bits are shifted so that the exponent field changes at √½ instead of 1: values around 1 then have
    // exponent 0 and no cancellation.
    let shifted = simd.add_u32s(bits, simd.splat_u32s(0x3f80_0000 - SQRT_HALF));
    let exponent = simd.wrapping_dyn_shr_u32s(shifted, simd.splat_u32s(EXPONENT_SHIFT));
    let mantissa = simd.and_u32s(shifted, simd.splat_u32s(MANTISSA));
    let mantissa = simd.transmute_f32s_u32s(simd.add_u32s(mantissa, simd.splat_u32s(SQRT_HALF)));
    let exponent = simd.transmute_f32s_u32s(simd.or_u32s(exponent, simd.splat_u32s(TWO_POW_23)));
    let exponent = simd.sub_f32s(exponent, simd.splat_f32s(f32::from_bits(TWO_POW_23) + 127.0));

    let x = simd.sub_f32s(mantissa, simd.splat_f32s(1.0));
    let square = simd.mul_f32s(x, x);
    let mut polynomial = simd.splat_f32s(P[0]);
    for coefficient in &P[1..] {
        polynomial = multiply_add(simd, polynomial, x, simd.splat_f32s(*coefficient));
    }
    let cubic = simd.mul_f32s(simd.mul_f32s(x, square), polynomial);
    let tail = multiply_add(simd, exponent, simd.splat_f32s(LN_2_LOW), cubic);
    let tail = subtract_product(simd, square, simd.splat_f32s(0.5), tail);
    let sum = multiply_add(simd, exponent, simd.splat_f32s(LN_2_HIGH), simd.add_f32s(x, tail));
    // The integer arithmetic above is meaningless for infinity and NaN, so these are passed through.
    let finite = simd.less_than_f32s(value, simd.splat_f32s(f32::INFINITY));
    simd.select_f32s(finite, sum, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{InstructionSet, SimdRows, WithSimd};

    struct Logarithm(f32);

    impl WithSimd for Logarithm {
        type Output = f32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            let mut row = SimdRows::new(1);
            row.vectors::<S>()[0] = ln(simd, simd.splat_f32s(self.0));
            row.values()[S::F32_LANES - 1]
        }
    }

    #[test]
    fn the_error_is_that_of_single_precision() {
        let steps = (0..2_000).map(|step| f32::MIN_POSITIVE * 1.09_f32.powi(step));
        let near_one = (0..200).map(|step| 0.9 + step as f32 * 1e-3);
        for value in steps.take_while(|value| value.is_finite()).chain(near_one).chain([f32::MAX, 1.0]) {
            let exact = f64::from(value).ln();
            let error = (f64::from(InstructionSet::detect().run(Logarithm(value))) - exact).abs()
                / exact.abs().max(0.1);
            assert!(error < 2e-7, "ln {value:e} is {error:e} off");
        }
    }

    #[test]
    fn infinity_and_nan_are_returned_unchanged() {
        assert_eq!(InstructionSet::detect().run(Logarithm(f32::INFINITY)), f32::INFINITY);
        assert!(InstructionSet::detect().run(Logarithm(f32::NAN)).is_nan());
    }
}
