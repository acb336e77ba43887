//! The small Fourier transforms that a long one is made of, on rows of lanes.
//!
//! In: a block of `radix` transforms of equal length, one behind the other, and their twiddles. Out: their common transform,
//! in place. Formulas for 3 and 5 as in Nussbaumer, Fast Fourier Transform and Convolution Algorithms, section 5.4.

use crate::simd::{Simd, multiply_add, subtract_product};

/// A complex row: real parts, imaginary parts.
pub(super) type Complex<S> = [<S as Simd>::f32s; 2];

/// `value` times a constant.
#[inline(always)]
pub(super) fn times<S: Simd>(simd: S, value: Complex<S>, [re, im]: [f32; 2]) -> Complex<S> {
    let (re, im) = (simd.splat_f32s(re), simd.splat_f32s(im));
    [
        subtract_product(simd, value[1], im, simd.mul_f32s(value[0], re)),
        multiply_add(simd, value[0], im, simd.mul_f32s(value[1], re)),
    ]
}

#[inline(always)]
fn add<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>) -> Complex<S> {
    [simd.add_f32s(a[0], b[0]), simd.add_f32s(a[1], b[1])]
}

#[inline(always)]
fn sub<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>) -> Complex<S> {
    [simd.sub_f32s(a[0], b[0]), simd.sub_f32s(a[1], b[1])]
}

/// `a + factor·b`, with a real factor.
#[inline(always)]
fn add_times<S: Simd>(simd: S, a: Complex<S>, factor: f32, b: Complex<S>) -> Complex<S> {
    let factor = simd.splat_f32s(factor);
    [multiply_add(simd, factor, b[0], a[0]), multiply_add(simd, factor, b[1], a[1])]
}

/// `a − i·b` and `a + i·b`.
#[inline(always)]
fn beside<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>) -> (Complex<S>, Complex<S>) {
    (
        [simd.add_f32s(a[0], b[1]), simd.sub_f32s(a[1], b[0])],
        [simd.sub_f32s(a[0], b[1]), simd.add_f32s(a[1], b[0])],
    )
}

#[inline(always)]
pub(super) fn by_2<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (first, second) = block.split_at_mut(twiddles.len());
    for ((a, b), turn) in first.iter_mut().zip(second).zip(twiddles) {
        let turned = times(simd, *b, *turn);
        (*a, *b) = (add(simd, *a, turned), sub(simd, *a, turned));
    }
}

#[inline(always)]
pub(super) fn by_3<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (turns, _) = twiddles.as_chunks::<2>();
    let (first, rest) = block.split_at_mut(turns.len());
    let (second, third) = rest.split_at_mut(turns.len());
    for (((a, b), c), turns) in first.iter_mut().zip(second).zip(third).zip(turns) {
        let (turned_b, turned_c) = (times(simd, *b, turns[0]), times(simd, *c, turns[1]));
        let (sum, difference) = (add(simd, turned_b, turned_c), sub(simd, turned_b, turned_c));
        let middle = add_times(simd, *a, -0.5, sum);
        let side = scaled(simd, SIN_120, difference);
        *a = add(simd, *a, sum);
        (*b, *c) = beside(simd, middle, side);
    }
}

/// Four rows side by side: a transform of 4, without twiddles.
#[inline(always)]
pub(super) fn by_4_plain<S: Simd>(simd: S, block: &mut [Complex<S>]) {
    let (blocks, _) = block.as_chunks_mut::<4>();
    for rows in blocks {
        *rows = quarter(simd, *rows);
    }
}

#[inline(always)]
pub(super) fn by_4<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (turns, _) = twiddles.as_chunks::<3>();
    let (first, rest) = block.split_at_mut(turns.len());
    let (second, rest) = rest.split_at_mut(turns.len());
    let (third, fourth) = rest.split_at_mut(turns.len());
    for ((((a, b), c), d), turns) in first.iter_mut().zip(second).zip(third).zip(fourth).zip(turns) {
        let rows = [*a, times(simd, *b, turns[0]), times(simd, *c, turns[1]), times(simd, *d, turns[2])];
        [*a, *b, *c, *d] = quarter(simd, rows);
    }
}

#[inline(always)]
fn quarter<S: Simd>(simd: S, [a, b, c, d]: [Complex<S>; 4]) -> [Complex<S>; 4] {
    let (even_sum, even_difference) = (add(simd, a, c), sub(simd, a, c));
    let (odd_sum, odd_difference) = (add(simd, b, d), sub(simd, b, d));
    let (second, fourth) = beside(simd, even_difference, odd_difference);
    [add(simd, even_sum, odd_sum), second, sub(simd, even_sum, odd_sum), fourth]
}

#[inline(always)]
pub(super) fn by_5<S: Simd>(simd: S, block: &mut [Complex<S>], twiddles: &[[f32; 2]]) {
    let (turns, _) = twiddles.as_chunks::<4>();
    let part = turns.len();
    for (k, turns) in turns.iter().enumerate() {
        let a = block[k];
        let b = times(simd, block[part + k], turns[0]);
        let c = times(simd, block[2 * part + k], turns[1]);
        let d = times(simd, block[3 * part + k], turns[2]);
        let e = times(simd, block[4 * part + k], turns[3]);
        let (outer_sum, outer) = (add(simd, b, e), sub(simd, b, e));
        let (inner_sum, inner) = (add(simd, c, d), sub(simd, c, d));
        let near = add_times(simd, add_times(simd, a, COS_72, outer_sum), COS_144, inner_sum);
        let far = add_times(simd, add_times(simd, a, COS_144, outer_sum), COS_72, inner_sum);
        let near_side = add_times(simd, scaled(simd, SIN_72, outer), SIN_144, inner);
        let far_side = add_times(simd, scaled(simd, SIN_144, outer), -SIN_72, inner);
        block[k] = add(simd, a, add(simd, outer_sum, inner_sum));
        (block[part + k], block[4 * part + k]) = beside(simd, near, near_side);
        (block[2 * part + k], block[3 * part + k]) = beside(simd, far, far_side);
    }
}

#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, value: Complex<S>) -> Complex<S> {
    let factor = simd.splat_f32s(factor);
    [simd.mul_f32s(factor, value[0]), simd.mul_f32s(factor, value[1])]
}

const SIN_120: f32 = 0.866_025_4;
const COS_72: f32 = 0.309_017;
const SIN_72: f32 = 0.951_056_54;
const COS_144: f32 = -0.809_017;
const SIN_144: f32 = 0.587_785_24;
