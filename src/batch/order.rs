//! Puts results into the order in which their batches were formed.
//!
//! Input: batches as sessions finish them. Output: the same by number, which keeps the events of a channel in window order.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::ScoredBatch;
use super::run::Done;

/// Keeps items until those with lower numbers have come.
#[derive(Debug)]
struct Reorder<T> {
    next: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Reorder<T> {
    fn insert(&mut self, number: u64, item: T) {
        self.early.insert(number, item);
    }

    /// Removes the next item in order, if it has come.
    fn pop(&mut self) -> Option<(u64, T)> {
        let number = self.next;
        let item = self.early.remove(&number)?;
        self.next += 1;
        Some((number, item))
    }
}

/// Passes results on until the sessions have ended. Where the receiver is gone, results are dropped, so that the stages before this one
/// can end.
pub(super) async fn order<O>(mut finished: mpsc::Receiver<Done<O>>, results: mpsc::Sender<ScoredBatch<O>>) {
    let mut reorder = Reorder { next: 0, early: BTreeMap::new() };
    while let Some(done) = finished.recv().await {
        reorder.insert(done.number, done);
        while let Some((number, Done { model, windows, unsent, .. })) = reorder.pop() {
            if results.send(ScoredBatch { number, model, windows }).await.is_err() {
                tracing::debug!(number, "the results of a batch have no receiver");
            }
            drop(unsent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_waits_for_those_with_lower_numbers() {
        let mut reorder = Reorder { next: 0, early: BTreeMap::new() };
        reorder.insert(2, "c");
        reorder.insert(1, "b");
        assert_eq!(reorder.pop(), None);
        reorder.insert(0, "a");
        let popped: Vec<_> = std::iter::from_fn(|| reorder.pop()).collect();
        assert_eq!(popped, [(0, "a"), (1, "b"), (2, "c")]);
        assert_eq!(reorder.pop(), None);
    }
}
