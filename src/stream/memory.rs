//! One budget of memory for what clients make the daemon hold: uploads, large messages, and decoded files.
//!
//! Input: sizes. Output: reservations, which free their part of the budget when they are dropped. Invariant: the sum of all reservations never exceeds
//! the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget (`limits.max_memory_bytes`). Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    limit: usize,
    used: Arc<AtomicUsize>,
}

/// The budget has no room; the field is the budget in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} bytes hold buffered audio and uploads, the most that are allowed (limits.max_memory_bytes); try again later"
)]
pub struct OutOfMemory(pub usize);

/// A part of the budget.
#[derive(Debug)]
pub struct MemoryReservation {
    budget: MemoryBudget,
    bytes: AtomicUsize,
}

impl MemoryBudget {
    /// Returns a budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// Returns a reservation of nothing.
    #[must_use]
    pub fn reservation(&self) -> MemoryReservation {
        MemoryReservation { budget: self.clone(), bytes: AtomicUsize::new(0) }
    }

    /// Returns the budget in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn add(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let added = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.map(drop).map_err(|_| OutOfMemory(self.limit))
    }
}

impl MemoryReservation {
    /// Sets the size of the reservation. A reservation has one user at a time.
    ///
    /// # Errors
    /// [`OutOfMemory`] where the budget has no room; the reservation is unchanged.
    pub fn set(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let before = self.bytes.load(Ordering::Relaxed);
        if bytes > before {
            self.budget.add(bytes - before)?;
        } else {
            self.budget.used.fetch_sub(before - bytes, Ordering::Relaxed);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_the_budget_and_free_it() {
        let budget = MemoryBudget::new(100);
        let (one, other) = (budget.reservation(), budget.reservation());
        one.set(60).unwrap();
        assert_eq!(other.set(41), Err(OutOfMemory(100)));
        other.set(40).unwrap();
        one.set(10).unwrap();
        other.set(90).unwrap();
        drop(other);
        one.set(100).unwrap();
        drop(one);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
