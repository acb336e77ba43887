//! Answers back in the order in which their batches were formed.
//!
//! In: batches as sessions finish them. Out: the same, by number. Events of a channel stay in window order by it.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::ScoredBatch;
use super::run::Done;

/// Holds back what came early.
#[derive(Debug)]
struct Reorder<T> {
    next: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Reorder<T> {
    fn insert(&mut self, number: u64, item: T) {
        self.early.insert(number, item);
    }

    /// The next one in order, where it is there.
    fn pop(&mut self) -> Option<(u64, T)> {
        let number = self.next;
        let item = self.early.remove(&number)?;
        self.next += 1;
        Some((number, item))
    }
}

/// Passes answers on until the sessions have ended. Where nobody takes answers any more, it lets the rest go by, so
/// that the stages before it can end.
pub(super) async fn order<O>(mut finished: mpsc::Receiver<Done<O>>, results: mpsc::Sender<ScoredBatch<O>>) {
    let mut reorder = Reorder { next: 0, early: BTreeMap::new() };
    while let Some(done) = finished.recv().await {
        reorder.insert(done.number, done);
        while let Some((number, Done { model, windows, unsent, .. })) = reorder.pop() {
            if results.send(ScoredBatch { number, model, windows }).await.is_err() {
                tracing::debug!(number, "nobody takes the answers of a batch");
            }
            drop(unsent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_early_waits_for_what_comes_late() {
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
