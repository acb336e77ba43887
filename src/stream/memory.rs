//! One budget of memory for what clients make the daemon hold: files that are sent and decoded, and large messages.
//!
//! Input: sizes. Output: reservations, which free their part of the budget when they are dropped. Invariant: the sum of all reservations never exceeds
//! the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget (`limits.max_memory_bytes`). Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    limit: usize,
    used: Arc<Used>,
}

/// What is reserved, in bytes.
#[derive(Debug, Default)]
struct Used {
    all: AtomicUsize,
    /// The part of incomplete files of partitions, which comes free only when the partitions are read on.
    incomplete: AtomicUsize,
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
    bytes: usize,
    is_incomplete: bool,
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
        MemoryReservation { budget: self.clone(), bytes: 0, is_incomplete: false }
    }

    /// Returns the budget in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns whether a part of the budget comes free although no partition is read on.
    #[must_use]
    pub fn comes_free(&self) -> bool {
        self.used.all.load(Ordering::Relaxed) > self.used.incomplete.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let added = self.used.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.map(drop).map_err(|_| OutOfMemory(self.limit))
    }
}

impl MemoryReservation {
    /// Sets the size of the reservation.
    ///
    /// # Errors
    /// [`OutOfMemory`] where the budget has no room; the reservation is unchanged.
    pub fn set(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let is_incomplete = self.is_incomplete;
        self.set_incomplete(false);
        let before = self.bytes;
        let set = if bytes > before { self.budget.add(bytes - before) } else { Ok(()) };
        if set.is_ok() {
            self.budget.used.all.fetch_sub(before.saturating_sub(bytes), Ordering::Relaxed);
            self.bytes = bytes;
        }
        self.set_incomplete(is_incomplete);
        set
    }

    /// Declares whether the reservation is that of an incomplete file of a partition.
    pub fn set_incomplete(&mut self, is_incomplete: bool) {
        if self.is_incomplete != is_incomplete {
            let counter = &self.budget.used.incomplete;
            match is_incomplete {
                true => counter.fetch_add(self.bytes, Ordering::Relaxed),
                false => counter.fetch_sub(self.bytes, Ordering::Relaxed),
            };
            self.is_incomplete = is_incomplete;
        }
    }

    /// Adds another reservation of the same budget to this one.
    pub fn join(&mut self, mut other: Self) {
        let is_incomplete = self.is_incomplete;
        self.set_incomplete(false);
        other.set_incomplete(false);
        self.bytes += std::mem::take(&mut other.bytes);
        self.set_incomplete(is_incomplete);
    }

    /// Returns the size of the reservation in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.set_incomplete(false);
        self.budget.used.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_the_budget_and_free_it() {
        let budget = MemoryBudget::new(100);
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        one.set(60).unwrap();
        assert_eq!(other.set(41), Err(OutOfMemory(100)));
        other.set(40).unwrap();
        one.set(10).unwrap();
        other.set(90).unwrap();
        drop(other);
        one.set(100).unwrap();
        drop(one);
        assert_eq!(budget.used.all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_incomplete_files_of_partitions_hold_comes_free_by_reading_on_alone() {
        let budget = MemoryBudget::new(100);
        assert!(!budget.comes_free());
        let (mut file, mut part) = (budget.reservation(), budget.reservation());
        file.set_incomplete(true);
        file.set(40).unwrap();
        assert!(!budget.comes_free());
        part.set(50).unwrap();
        assert!(budget.comes_free());
        file.join(part);
        assert_eq!((file.bytes(), file.set(101)), (90, Err(OutOfMemory(100))));
        assert!(!budget.comes_free());
        file.set_incomplete(false);
        assert!(budget.comes_free());
        drop(file);
        assert!(!budget.comes_free());
        budget.reservation().set(100).unwrap();
    }
}
