//! Vectors as wide as the machine's: the same arithmetic in every lane, whatever the number of lanes.
//!
//! In: an operation that is generic over the instruction set. Out: its result, computed with the widest vectors that this
//! machine has: AVX-512, AVX2 with FMA, NEON, else four lanes of plain arithmetic. One binary holds all of them.
//! Never decides what is computed: a lane does not see its neighbours, so what comes out for it is equal bit by bit
//! for any number of lanes. Between machines with and without fused multiply-add results differ by rounding.

use std::any::TypeId;

use pulp::{Arch, Scalar128b};
pub(crate) use pulp::{Simd, WithSimd};

/// The most lanes that any instruction set has here.
pub(crate) const MAX_LANES: usize = 16;
/// Bytes from which a vector of the widest kind never straddles two cache lines.
const ALIGNMENT: usize = 64;

/// The instruction set of this machine, looked up once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lanes(Arch);

impl Lanes {
    /// Looks the machine up.
    pub fn new() -> Self {
        Self(Arch::new())
    }

    /// Runs `op` with the machine's widest vectors.
    #[inline]
    pub fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.0 {
            Arch::Scalar => Simd::vectorize(Scalar128b, op),
            arch => arch.dispatch(op),
        }
    }
}

/// Counts the machine's lanes.
pub(crate) struct Count;

impl WithSimd for Count {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// `a·b + c`, fused wherever the machine can. Without such an instruction the fused one would be a slow function call.
#[inline(always)]
pub(crate) fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<Scalar128b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_f32s(a, b, c)
    }
}

/// `c − a·b`, fused wherever the machine can.
#[inline(always)]
pub(crate) fn subtract_product<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<Scalar128b>() {
        simd.sub_f32s(c, simd.mul_f32s(a, b))
    } else {
        simd.negate_mul_add_f32s(a, b, c)
    }
}

/// Rows of lanes, aligned so that no vector straddles two cache lines.
#[derive(Debug)]
pub(crate) struct LaneRows {
    storage: Vec<f32>,
    /// Where in `storage` the first row begins: the storage never moves.
    start: usize,
}

impl LaneRows {
    /// Room for `rows` rows of the widest vectors, all zero.
    pub fn new(rows: usize) -> Self {
        let storage = vec![0.0_f32; rows * MAX_LANES + ALIGNMENT / size_of::<f32>()];
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / size_of::<f32>());
        Self { storage, start }
    }

    /// The rows as vectors of this instruction set.
    #[inline(always)]
    pub fn vectors<S: Simd>(&mut self) -> &mut [S::f32s] {
        S::as_mut_simd_f32s(&mut self.storage[self.start..]).0
    }

    /// Rows that hold `values`, one after the other.
    pub fn of(values: &[f32]) -> Self {
        let mut rows = Self::new(values.len().div_ceil(MAX_LANES));
        rows.values()[..values.len()].copy_from_slice(values);
        rows
    }

    /// The numbers at `range`.
    #[inline(always)]
    pub fn slice(&self, range: std::ops::Range<usize>) -> &[f32] {
        &self.storage[self.start..][range]
    }

    /// The rows as numbers: row `r`, lane `l` is at `r · lanes + l`.
    #[inline(always)]
    pub fn values(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Triple<'a>(&'a mut LaneRows);

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
    fn every_lane_counts_and_rows_are_aligned() {
        let mut rows = LaneRows::new(1);
        assert!(rows.values().as_ptr().addr().is_multiple_of(ALIGNMENT));
        rows.values()[..MAX_LANES].fill(3.0);
        let lanes = Lanes::new().run(Triple(&mut rows));
        assert!((4..=MAX_LANES).contains(&lanes) && MAX_LANES.is_multiple_of(lanes));
        assert!(rows.values()[..lanes].iter().all(|value| *value == 6.5));
        let plain = Simd::vectorize(Scalar128b, Triple(&mut rows));
        assert_eq!((plain, rows.values()[0]), (4, 13.5));
    }
}
