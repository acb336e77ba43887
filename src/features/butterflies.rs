//! The small discrete Fourier transforms (butterflies) that a long one is composed of, one frame per SIMD
//! lane.
//!
//! Input: a block of `radix` transforms of equal length, stored one after the other, and their twiddle
//! factors.
//! Output: the transform of the whole block, in place.
//!
//! The formulas for radix 3 and 5 are those of Nussbaumer, Fast Fourier Transform and Convolution Algorithms,
//! section 5.4.

use crate::simd::{Simd, multiply_add, subtract_product};

/// A row of complex values: the real parts, then the imaginary parts.
pub(super) type Complex<S> = [<S as Simd>::f32s; 2];

/// Returns `value` times a complex constant.
#[inline(always)]
pub(super) fn mul_constant<S: Simd>(simd: S, value: Complex<S>, [re, im]: [f32; 2]) -> Complex<S> {
    let (re, im) = (simd.splat_f32s(re), simd.splat_f32s(im));
    [
        subtract_product(simd, value[1], im, simd.mul_f32s(value[0], re)),
        multiply_add(simd, value[0], im, simd.mul_f32s(value[1], re)),
    ]
}

/// Returns `a + b`.
#[inline(always)]
fn add<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>) -> Complex<S> {
    [simd.add_f32s(a[0], b[0]), simd.add_f32s(a[1], b[1])]
}

/// Returns `a − b`.
#[inline(always)]
fn sub<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>) -> Complex<S> {
    [simd.sub_f32s(a[0], b[0]), simd.sub_f32s(a[1], b[1])]
}

/// Returns `a + factor·b` with a real factor.
#[inline(always)]
fn add_scaled<S: Simd>(simd: S, a: Complex<S>, factor: f32, b: Complex<S>) -> Complex<S> {
    let factor = simd.splat_f32s(factor);
    [multiply_add(simd, factor, b[0], a[0]), multiply_add(simd, factor, b[1], a[1])]
}

/// Returns `a − i·b` and `a + i·b`.
#[inline(always)]
fn sub_add_i<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>) -> (Complex<S>, Complex<S>) {
    (
        [simd.add_f32s(a[0], b[1]), simd.sub_f32s(a[1], b[0])],
        [simd.sub_f32s(a[0], b[1]), simd.add_f32s(a[1], b[0])],
    )
}

/// Combines two transforms. `twiddles` has one factor per row of the second one.
#[inline(always)]
pub(super) fn radix_2<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (first, second) = block.split_at_mut(twiddles.len());
    for ((a, b), twiddle) in first.iter_mut().zip(second).zip(twiddles) {
        let product = mul_constant(simd, *b, *twiddle);
        (*a, *b) = (add(simd, *a, product), sub(simd, *a, product));
    }
}

/// Combines three transforms. `twiddles` has two factors per row.
#[inline(always)]
pub(super) fn radix_3<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (twiddles, _) = twiddles.as_chunks::<2>();
    let (first, rest) = block.split_at_mut(twiddles.len());
    let (second, third) = rest.split_at_mut(twiddles.len());
    for (((a, b), c), twiddles) in first.iter_mut().zip(second).zip(third).zip(twiddles) {
        let (second, third) = (mul_constant(simd, *b, twiddles[0]), mul_constant(simd, *c, twiddles[1]));
        let (sum, difference) = (add(simd, second, third), sub(simd, second, third));
        let middle = add_scaled(simd, *a, -0.5, sum);
        let side = scaled(simd, SIN_120, difference);
        *a = add(simd, *a, sum);
        (*b, *c) = sub_add_i(simd, middle, side);
    }
}

/// Computes transforms of four single rows, which have no twiddle factors.
#[inline(always)]
pub(super) fn radix_4_first<S: Simd>(simd: S, block: &mut [Complex<S>]) {
    let (blocks, _) = block.as_chunks_mut::<4>();
    for rows in blocks {
        *rows = dft_4(simd, *rows);
    }
}

/// Combines four transforms. `twiddles` has three factors per row.
#[inline(always)]
pub(super) fn radix_4<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (twiddles, _) = twiddles.as_chunks::<3>();
    let (first, rest) = block.split_at_mut(twiddles.len());
    let (second, rest) = rest.split_at_mut(twiddles.len());
    let (third, fourth) = rest.split_at_mut(twiddles.len());
    for ((((a, b), c), d), twiddles) in first.iter_mut().zip(second).zip(third).zip(fourth).zip(twiddles) {
        let rows = [
            *a,
            mul_constant(simd, *b, twiddles[0]),
            mul_constant(simd, *c, twiddles[1]),
            mul_constant(simd, *d, twiddles[2]),
        ];
        [*a, *b, *c, *d] = dft_4(simd, rows);
    }
}

/// Returns the transform of four values. It needs no multiplication.
#[inline(always)]
fn dft_4<S: Simd>(simd: S, [a, b, c, d]: [Complex<S>; 4]) -> [Complex<S>; 4] {
    let (even_sum, even_difference) = (add(simd, a, c), sub(simd, a, c));
    let (odd_sum, odd_difference) = (add(simd, b, d), sub(simd, b, d));
    let (second, fourth) = sub_add_i(simd, even_difference, odd_difference);
    [add(simd, even_sum, odd_sum), second, sub(simd, even_sum, odd_sum), fourth]
}

/// Combines five transforms. `twiddles` has four factors per row.
#[inline(always)]
pub(super) fn radix_5<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (twiddles, _) = twiddles.as_chunks::<4>();
    let part = twiddles.len();
    for (k, twiddles) in twiddles.iter().enumerate() {
        let a = block[k];
        let b = mul_constant(simd, block[part + k], twiddles[0]);
        let c = mul_constant(simd, block[2 * part + k], twiddles[1]);
        let d = mul_constant(simd, block[3 * part + k], twiddles[2]);
        let e = mul_constant(simd, block[4 * part + k], twiddles[3]);
        let (outer_sum, outer) = (add(simd, b, e), sub(simd, b, e));
        let (inner_sum, inner) = (add(simd, c, d), sub(simd, c, d));
        // Pairs of inputs with conjugate factors are combined first: their sums are multiplied with cosines,
        // their differences with sines.
        let near = add_scaled(simd, add_scaled(simd, a, COS_72, outer_sum), COS_144, inner_sum);
        let far = add_scaled(simd, add_scaled(simd, a, COS_144, outer_sum), COS_72, inner_sum);
        let near_side = add_scaled(simd, scaled(simd, SIN_72, outer), SIN_144, inner);
        let far_side = add_scaled(simd, scaled(simd, SIN_144, outer), -SIN_72, inner);
        block[k] = add(simd, a, add(simd, outer_sum, inner_sum));
        (block[part + k], block[4 * part + k]) = sub_add_i(simd, near, near_side);
        (block[2 * part + k], block[3 * part + k]) = sub_add_i(simd, far, far_side);
    }
}

/// Returns `factor·value` with a real factor.
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, value: Complex<S>) -> Complex<S> {
    let factor = simd.splat_f32s(factor);
    [simd.mul_f32s(factor, value[0]), simd.mul_f32s(factor, value[1])]
}

/// Sines and cosines of multiples of a third and a fifth of a full turn.
const SIN_120: f32 = 0.866_025_4;
const COS_72: f32 = 0.309_017;
const SIN_72: f32 = 0.951_056_54;
const COS_144: f32 = -0.809_017;
const SIN_144: f32 = 0.587_785_24;
