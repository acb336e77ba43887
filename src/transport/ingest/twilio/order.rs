//! Puts messages in the order of their numbers.
//!
//! Input: numbered messages as they arrive, and the time. Output: the same in order. Invariants: a message whose predecessors are missing waits at
//! most [`LONGEST_WAIT`]; what waits is bounded; each number is passed on once. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How long a message waits for those before it.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// The most messages that wait: those of 200 ms in two tracks are 20.
const MOST_MESSAGES: usize = 256;
/// The most bytes that wait.
const MOST_BYTES: usize = 256 * 1024;
/// A number that is further ahead belongs to another order, so it says nothing about this one: these are messages of a minute or more.
const FURTHEST_AHEAD: u64 = 10_000;
/// Numbers that were passed over are remembered as this many ranges.
const MOST_RANGES: usize = 64;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// It is passed on, or waits for those before it.
    New,
    /// A message with its number came before.
    Repeated,
    /// It came after the time in which it was waited for.
    Late,
}

/// Messages that wait for those before them.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// The number of the next message; `None` before one is known.
    next: Option<u64>,
    has_begun: bool,
    held: BTreeMap<u64, Held<T>>,
    bytes: usize,
    /// The numbers that were passed over: each range with its end, which it does not contain.
    passed: VecDeque<(u64, u64)>,
}

#[derive(Debug)]
struct Held<T> {
    since: Instant,
    bytes: usize,
    item: T,
}

impl<T> Order<T> {
    pub fn new() -> Self {
        Self { next: None, has_begun: false, held: BTreeMap::new(), bytes: 0, passed: VecDeque::new() }
    }

    /// Begins behind the number of the first message. Without one, the lowest number that waits is the next, or the one that comes next.
    pub fn begin(&mut self, first: Option<u64>, out: &mut Vec<T>) {
        self.has_begun = true;
        self.next = match first {
            Some(first) => Some(first.saturating_add(1)),
            None => self.held.keys().next().copied(),
        };
        if let Some(next) = self.next {
            self.held = self.held.split_off(&next);
            let far = self.held.split_off(&next.saturating_add(FURTHEST_AHEAD + 1));
            out.extend(far.into_values().map(|held| held.item));
            self.bytes = self.held.values().map(|held| held.bytes).sum();
        }
        self.pass_consecutive(out);
    }

    /// Accepts a message of `bytes` bytes. One whose number is too far ahead is passed on at once.
    pub fn accept(
        &mut self,
        number: u64,
        (item, bytes): (T, usize),
        now: Instant,
        out: &mut Vec<T>,
    ) -> Accepted {
        if self.has_begun && number < *self.next.get_or_insert(number) {
            return self.accept_old(number);
        }
        if self.next.is_some_and(|next| number - next > FURTHEST_AHEAD) {
            out.push(item);
            return Accepted::New;
        }
        if self.held.contains_key(&number) {
            return Accepted::Repeated;
        }
        self.held.insert(number, Held { since: now, bytes, item });
        self.bytes += bytes;
        self.pass_consecutive(out);
        while self.held.len() > MOST_MESSAGES || self.bytes > MOST_BYTES {
            if self.next.is_none() {
                // Nothing can be passed on before the first number is known.
                self.remove_first();
            } else {
                self.pass_over();
                self.pass_consecutive(out);
            }
        }
        Accepted::New
    }

    /// Returns when the next message has waited long enough; `None` where none waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.next?;
        self.held.values().map(|held| held.since).min().map(|since| since + LONGEST_WAIT)
    }

    /// Passes on what has waited long enough, in order, with what is before it.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<T>) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.pass_over();
            self.pass_consecutive(out);
        }
    }

    /// Passes on everything that waits, in order.
    pub fn flush(&mut self, out: &mut Vec<T>) {
        while self.next.is_some() && !self.held.is_empty() {
            self.pass_over();
            self.pass_consecutive(out);
        }
    }

    fn pass_consecutive(&mut self, out: &mut Vec<T>) {
        while let Some(next) = self.next
            && self.held.first_key_value().is_some_and(|(number, _)| *number == next)
        {
            out.extend(self.remove_first());
            self.next = Some(next.saturating_add(1));
        }
    }

    fn remove_first(&mut self) -> Option<T> {
        let (_, held) = self.held.pop_first()?;
        self.bytes -= held.bytes;
        Some(held.item)
    }

    /// Waits no longer for the numbers before the first message that waits.
    fn pass_over(&mut self) {
        let (Some(next), Some((first, _))) = (self.next, self.held.first_key_value()) else { return };
        if next < *first {
            self.passed.push_back((next, *first));
            if self.passed.len() > MOST_RANGES {
                self.passed.pop_front();
            }
        }
        self.next = Some(*first);
    }

    /// Distinguishes a number that was passed over from one that was passed on.
    fn accept_old(&mut self, number: u64) -> Accepted {
        let Some(at) = self.passed.iter().position(|(start, end)| (*start..*end).contains(&number)) else {
            return Accepted::Repeated;
        };
        // Another message with this number is a repeated one.
        if let Some((start, end)) = self.passed.remove(at) {
            let rest = [(start, number), (number + 1, end)];
            self.passed.extend(rest.into_iter().filter(|(start, end)| start < end));
        }
        Accepted::Late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Run {
        order: Order<u64>,
        start: Instant,
        out: Vec<u64>,
    }

    impl Run {
        fn new() -> Self {
            let mut run = Self { order: Order::new(), start: Instant::now(), out: Vec::new() };
            run.order.begin(Some(1), &mut run.out);
            run
        }

        fn accept(&mut self, number: u64, at: u64) -> Accepted {
            let now = self.start + Duration::from_millis(at);
            self.order.accept(number, (number, 100), now, &mut self.out)
        }

        fn expire(&mut self, at: u64) {
            self.order.expire(self.start + Duration::from_millis(at), &mut self.out);
        }
    }

    #[tokio::test]
    async fn a_message_waits_200_ms_for_those_before_it() {
        let mut run = Run::new();
        for (number, at) in [(2, 0), (4, 10), (5, 50), (7, 60)] {
            assert_eq!(run.accept(number, at), Accepted::New);
        }
        assert_eq!(
            (run.out.as_slice(), run.order.deadline()),
            (&[2][..], Some(run.start + Duration::from_millis(210)))
        );
        run.expire(209);
        assert_eq!(run.out, [2]);
        run.expire(210);
        assert_eq!(run.out, [2, 4, 5]);
        assert_eq!(
            (run.accept(3, 220), run.accept(3, 221), run.accept(5, 222)),
            (Accepted::Late, Accepted::Repeated, Accepted::Repeated)
        );
        assert_eq!((run.accept(6, 230), run.accept(7, 231)), (Accepted::New, Accepted::Repeated));
        assert_eq!((run.out.as_slice(), run.order.deadline()), (&[2, 4, 5, 6, 7][..], None));
    }

    #[tokio::test]
    async fn a_number_far_ahead_does_not_end_the_order() {
        let mut run = Run::new();
        for number in [2, 1_000_000, 3, u64::MAX, 4] {
            assert_eq!(run.accept(number, 0), Accepted::New);
        }
        assert_eq!((run.out.as_slice(), run.order.deadline()), (&[2, 1_000_000, 3, u64::MAX, 4][..], None));
    }

    #[tokio::test]
    async fn messages_before_the_first_wait_for_it_and_the_end_passes_all_on() {
        let (mut order, mut out, now) = (Order::new(), Vec::new(), Instant::now());
        for number in [4, 3, 9, 6] {
            order.accept(number, (number, 1), now, &mut out);
        }
        assert!(out.is_empty() && order.deadline().is_none());
        order.begin(Some(3), &mut out);
        assert_eq!(out, [4]);
        order.flush(&mut out);
        assert_eq!(out, [4, 6, 9]);
        let (mut order, mut out) = (Order::new(), Vec::new());
        order.accept(7, (7, 1), now, &mut out);
        order.begin(None, &mut out);
        assert_eq!(out, [7]);
        let (mut order, mut out) = (Order::new(), Vec::new());
        order.begin(None, &mut out);
        order.accept(5, (5, 1), now, &mut out);
        assert_eq!(out, [5]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let mut run = Run::new();
        (3..1_000).for_each(|number| _ = run.accept(number, 0));
        assert!(run.out.len() > 700 && run.out[0] == 3, "{}", run.out.len());
        let (mut order, mut out, now) = (Order::new(), Vec::new(), Instant::now());
        (0..1_000).for_each(|number| _ = order.accept(number, (number, 1_000), now, &mut out));
        assert!(order.held.len() <= MOST_MESSAGES && order.bytes <= MOST_BYTES);
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_within_the_wait_is_put_in_order(
            numbers in Just((2_u64..60).chain(10..20).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut run = Run::new();
            let repeated = numbers.iter().filter(|number| run.accept(**number, 0) == Accepted::Repeated).count();
            prop_assert_eq!(repeated, 10);
            prop_assert_eq!(run.out, (2..60).collect::<Vec<_>>());
        }
    }
}
