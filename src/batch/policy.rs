//! When a batch is complete.
//!
//! In: jobs one by one, and the time. Out: whether to take more, how long to wait for it, and what is too old. No channel.

use std::time::Duration;

use tokio::time::Instant;

use super::{Job, Origin};

/// `[batch]`, as far as it decides when a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Jobs in one batch, at least 1.
    pub max_size: usize,
    /// How long the first job of a batch that is not full may wait in all; 0 never waits for more.
    pub max_delay: Duration,
    /// The oldest that a job of a live stream may become while it waits.
    pub max_age: Option<Duration>,
}

impl Policy {
    /// Whether nobody wants the job any more because it waited for so long.
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
    /// When it goes, full or not; `None` while it is empty.
    deadline: Option<Instant>,
    items: Vec<T>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is there yet: wait for the first one.
    Wait,
    /// Wait for another one, but only until then.
    WaitUntil(Instant),
    /// Off it goes.
    Go,
}

impl<T> Forming<T> {
    /// An empty batch.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, deadline: None, items: Vec::new() }
    }

    /// Takes one more, which has waited since `since`.
    pub fn push(&mut self, item: T, since: Instant) {
        self.deadline.get_or_insert(since + self.policy.max_delay);
        self.items.push(item);
    }

    /// Whether one more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() >= self.policy.max_size
    }

    /// What to do once nothing more waits.
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
    fn without_a_delay_whatever_is_there_goes() {
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
