//! Failed authentications by address, and the addresses that have had too many.
//!
//! Input: addresses and times. Output: whether an address may try again. Invariants: the memory is bounded; no clock is read here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The time in which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered at most. When more fail within a window, those that are not blocked are forgotten.
const MAX_ADDRESSES: usize = 50_000;

/// Failed authentications by address.
#[derive(Debug)]
pub(super) struct Failures {
    limit: usize,
    addresses: HashMap<IpAddr, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    began: Instant,
    failures: usize,
}

impl Failures {
    /// Returns a counter that blocks an address after `limit` failures in a minute.
    pub fn new(limit: usize) -> Self {
        Self { limit, addresses: HashMap::new() }
    }

    /// Returns how long the address is blocked from `now` on; `None` where it is not.
    pub fn blocked(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let count = self.addresses.get(&network(address)).filter(|count| count.failures >= self.limit)?;
        let left = WINDOW.saturating_sub(now.saturating_duration_since(count.began));
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure. Returns whether it is the one that blocks the address.
    pub fn record(&mut self, address: IpAddr, now: Instant) -> bool {
        let recent = |count: &Count| now.saturating_duration_since(count.began) < WINDOW;
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, count| recent(count));
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, count| count.failures >= self.limit);
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.clear();
        }
        let count = self.addresses.entry(network(address)).or_insert(Count { began: now, failures: 0 });
        if !recent(count) {
            *count = Count { began: now, failures: 0 };
        }
        count.failures += 1;
        count.failures == self.limit
    }
}

/// Returns the network that counts as one address: a /64 of IPv6, which one host may use as a whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_blocked_for_the_rest_of_the_minute_and_others_are_not() {
        let (start, one, other) =
            (Instant::now(), "192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut failures = Failures::new(2);
        _ = failures.record(one, start);
        assert_eq!(failures.blocked(one, start), None);
        let later = start + Duration::from_secs(10);
        _ = failures.record(one, later);
        assert_eq!(failures.blocked(one, later), Some(Duration::from_secs(50)));
        assert_eq!(
            failures.blocked("::ffff:192.0.2.1".parse().unwrap(), later),
            Some(Duration::from_secs(50))
        );
        assert_eq!(failures.blocked(other, later), None);
        assert_eq!(failures.blocked(one, start + WINDOW), None);
        _ = failures.record(one, start + WINDOW);
        assert_eq!(failures.blocked(one, start + WINDOW), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_the_memory_is_bounded() {
        let now = Instant::now();
        let mut failures = Failures::new(2);
        _ = failures.record("2001:db8::1".parse().unwrap(), now);
        _ = failures.record("2001:db8::2".parse().unwrap(), now);
        assert!(failures.blocked("2001:db8::3".parse().unwrap(), now).is_some());
        for address in 0..2 * MAX_ADDRESSES as u32 {
            _ = failures.record(IpAddr::V4(address.into()), now);
        }
        assert!(failures.addresses.len() <= MAX_ADDRESSES);
        assert!(
            failures.blocked("2001:db8::3".parse().unwrap(), now).is_some(),
            "a blocked one is not forgotten"
        );
    }
}
