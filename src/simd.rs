//! SIMD: one implementation of a computation for every instruction set.
//!
//! Input: an operation that is generic over the instruction set ([`WithSimd`]).
//! Output: its result, computed with the widest vectors of this machine: AVX-512, AVX2 with FMA, NEON, or
//! else four lanes of scalar arithmetic. One binary contains all variants.
//! Invariants: every lane performs the same arithmetic and no result depends on another lane, so results are
//! equal bit by bit for every number of lanes, except those of the resampler, which adds across lanes and differs by rounding. Machines with and without fused multiply-add differ by
//! rounding.

use std::any::TypeId;

use pulp::{Arch, Scalar128b};
pub(crate) use pulp::{Simd, WithSimd};

/// The largest number of f32 lanes of any supported instruction set (AVX-512).
pub(crate) const MAX_LANES: usize = 16;
/// The alignment in bytes at which a vector of any supported width stays within one cache line.
const ALIGNMENT: usize = 64;

/// The instruction set of this machine, detected once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstructionSet(Arch);

impl InstructionSet {
    /// Detects the instruction set.
    pub fn detect() -> Self {
        Self(Arch::new())
    }

    /// Runs `op` with the widest vectors of the instruction set.
    #[inline]
    pub fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.0 {
            Arch::Scalar => Simd::vectorize(Scalar128b, op),
            arch => arch.dispatch(op),
        }
    }
}

/// An operation that returns the number of f32 lanes.
pub(crate) struct CountLanes;

impl WithSimd for CountLanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Returns `a·b + c`, fused where the instruction set has such an instruction.
///
/// Without one, `mul_add` would call a slow function that emulates the single rounding; two roundings are
/// used instead.
#[inline(always)]
pub(crate) fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<Scalar128b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_f32s(a, b, c)
    }
}

/// Returns `c − a·b`, fused under the same condition as [`multiply_add`].
#[inline(always)]
pub(crate) fn subtract_product<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<Scalar128b>() {
        simd.sub_f32s(c, simd.mul_f32s(a, b))
    } else {
        simd.negate_mul_add_f32s(a, b, c)
    }
}

/// Rows of lanes, aligned so that no vector straddles two cache lines.
///
/// A row holds one vector, with the same value of several frames: row `r` of a frame in lane `l` is at `r ·
/// lanes + l`.
#[derive(Debug)]
pub(crate) struct SimdRows {
    storage: Vec<f32>,
    /// The index in `storage` of the first row. The storage is never reallocated, so its alignment stays.
    start: usize,
}

impl SimdRows {
    /// Creates `rows` zeroed rows of the widest vectors.
    pub fn new(rows: usize) -> Self {
        let storage = vec![0.0_f32; rows * MAX_LANES + ALIGNMENT / size_of::<f32>()];
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / size_of::<f32>());
        Self { storage, start }
    }

    /// Returns the rows as vectors of the instruction set `S`.
    #[inline(always)]
    pub fn vectors<S: Simd>(&mut self) -> &mut [S::f32s] {
        S::as_mut_simd_f32s(&mut self.storage[self.start..]).0
    }

    /// Creates rows that hold `values` contiguously.
    pub fn of(values: &[f32]) -> Self {
        let mut rows = Self::new(values.len().div_ceil(MAX_LANES));
        rows.values()[..values.len()].copy_from_slice(values);
        rows
    }

    /// Returns the values in `range` as a slice.
    #[inline(always)]
    pub fn slice(&self, range: std::ops::Range<usize>) -> &[f32] {
        &self.storage[self.start..][range]
    }

    /// Returns all values: row `r`, lane `l` is at `r · lanes + l`.
    #[inline(always)]
    pub fn values(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Triple<'a>(&'a mut SimdRows);

    impl WithSimd for Triple<'_> {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> usize {
            let row = &mut self.0.vectors::<S>()[0];
            *row = multiply_add(simd, *row, simd.splat_f32s(4.0), simd.splat_f32s(1.0));
            *row = subtract_product(simd, *row, simd.splat_f32s(0.5), *row);
            S::F32_LANES
        }
    }

    #[test]
    fn all_lanes_are_computed_and_rows_are_aligned() {
        let mut rows = SimdRows::new(1);
        assert!(rows.values().as_ptr().addr().is_multiple_of(ALIGNMENT));
        rows.values()[..MAX_LANES].fill(3.0);
        let lanes = InstructionSet::detect().run(Triple(&mut rows));
        assert!((4..=MAX_LANES).contains(&lanes) && MAX_LANES.is_multiple_of(lanes));
        assert!(rows.values()[..lanes].iter().all(|value| *value == 6.5));
        let plain = Simd::vectorize(Scalar128b, Triple(&mut rows));
        assert_eq!((plain, rows.values()[0]), (4, 13.5));
    }
}
