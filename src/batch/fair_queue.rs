//! A queue with a sub-queue for each stream.
//!
//! Input: items with their stream. Output: one item of each stream in turn, those of a stream in order. So a sender that is far ahead of real
//! time waits behind its own items and does not delay others. Pure: no clock, no channel.

use std::collections::{HashMap, VecDeque};

/// Items in sub-queues that take turns.
#[derive(Debug)]
pub struct FairQueue<T> {
    queues: HashMap<u64, VecDeque<T>>,
    /// Streams with a sub-queue, the next one first; each is listed once.
    turns: VecDeque<u64>,
    length: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new(), length: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Items in all sub-queues.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no item waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends to the sub-queue of `stream`.
    pub fn push(&mut self, stream: u64, item: T) {
        let queue = self.queues.entry(stream).or_default();
        if queue.is_empty() {
            self.turns.push_back(stream);
        }
        queue.push_back(item);
        self.length += 1;
    }

    /// Removes the first item of the sub-queue whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let stream = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&stream).expect("each stream in turns has a sub-queue");
        let item = queue.pop_front().expect("a sub-queue with a turn is not empty");
        if queue.is_empty() {
            self.queues.remove(&stream);
        } else {
            self.turns.push_back(stream);
        }
        self.length -= 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn streams_take_turns_and_keep_their_order() {
        let mut queue = FairQueue::default();
        for (stream, item) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            queue.push(stream, item);
        }
        assert_eq!((queue.pop(), queue.len()), (Some("a1"), 5));
        queue.push(4, "d1");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, ["b1", "c1", "a2", "d1", "b2", "a3"]);
        assert!(queue.is_empty() && queue.queues.is_empty());
    }

    proptest! {
        #[test]
        fn an_item_waits_for_at_most_one_item_of_each_other_stream_a_turn(
            streams in prop::collection::vec(0_u64..6, 1..60),
        ) {
            let mut queue = FairQueue::default();
            for (at, stream) in streams.iter().enumerate() {
                queue.push(*stream, (*stream, at));
            }
            let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(popped.len(), streams.len());
            for (place, (stream, at)) in popped.iter().enumerate() {
                let turn = streams[..*at].iter().filter(|other| *other == stream).count();
                let served = popped[..place].iter().filter(|(other, _)| other != stream);
                prop_assert!(served.count() <= 5 * (turn + 1));
                let before = popped[..place].iter().filter(|(other, _)| other == stream).count();
                prop_assert_eq!(before, turn);
            }
        }
    }
}
