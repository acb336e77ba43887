//! Decides when a batch is complete.
//!
//! Input: jobs one by one, and the time. Output: whether to add more jobs, how long to wait for them, and which are too old. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Job, Origin};

/// The part of `[batch]` that decides when a batch is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Jobs in one batch, at least 1.
    pub max_size: usize,
    /// The longest time that the first job of a batch waits for more jobs, counted from its submission; 0 does not wait.
    pub max_delay: Duration,
    /// The longest time that a job of a live stream may wait.
    pub max_age: Option<Duration>,
}

impl Policy {
    /// Whether the job waited for so long that its event would be of no use.
    #[must_use]
    pub fn is_stale<O: Origin>(&self, job: &Job<O>) -> bool {
        let too_old = |max_age| job.submitted_at.elapsed() > max_age;
        job.origin.is_live() && self.max_age.is_some_and(too_old)
    }
}

/// A batch that is being formed.
#[derive(Debug)]
pub struct Forming<T> {
    policy: Policy,
    /// When it is complete, full or not; `None` while it is empty.
    deadline: Option<Instant>,
    items: Vec<T>,
}

/// The next step in forming a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait for the first job.
    Wait,
    /// Wait for another job until this time.
    WaitUntil(Instant),
    /// Run the batch.
    Go,
}

impl<T> Forming<T> {
    /// An empty batch.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, deadline: None, items: Vec::new() }
    }

    /// Adds a job that has waited since `since`.
    pub fn push(&mut self, item: T, since: Instant) {
        self.deadline.get_or_insert(since + self.policy.max_delay);
        self.items.push(item);
    }

    /// Whether no more jobs fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() >= self.policy.max_size
    }

    /// Returns the next step where no more jobs wait.
    #[must_use]
    pub fn next(&self, now: Instant) -> Next {
        match self.deadline {
            None => Next::Wait,
            Some(deadline) if self.is_full() || deadline <= now => Next::Go,
            Some(deadline) => Next::WaitUntil(deadline),
        }
    }

    /// The batch, in the order of arrival.
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forming(max_size: usize, max_delay_ms: u64) -> (Forming<u32>, Instant) {
        let max_delay = Duration::from_millis(max_delay_ms);
        (Forming::new(Policy { max_size, max_delay, max_age: None }), Instant::now())
    }

    #[test]
    fn without_a_delay_a_batch_does_not_wait() {
        let (mut batch, now) = forming(3, 0);
        assert_eq!(batch.next(now), Next::Wait);
        batch.push(1, now);
        assert_eq!(batch.next(now), Next::Go);
    }

    #[test]
    fn the_delay_counts_from_the_first_and_a_full_batch_does_not_wait() {
        let (mut batch, now) = forming(3, 10);
        let later = now + Duration::from_millis(4);
        batch.push(1, now);
        batch.push(2, later);
        assert_eq!(batch.next(later), Next::WaitUntil(now + Duration::from_millis(10)));
        assert_eq!(batch.next(now + Duration::from_millis(10)), Next::Go);
        batch.push(3, later);
        assert!(batch.is_full());
        assert_eq!(batch.next(later), Next::Go);
        assert_eq!(batch.into_items(), [1, 2, 3]);
    }
}
