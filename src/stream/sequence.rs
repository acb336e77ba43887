//! The check of a stream's sequence numbers.
//!
//! Input: the sequence number of each chunk, where the sender counts its chunks. Output: whether the chunk is a duplicate, and how many chunks are
//! missing before it. Invariant: the last accepted number never falls. Pure.
//!
//! The check stands with the component that receives whole chunks and owns the stream's position. For Kafka that is the front end, since the last
//! number is part of the progress record, and a duplicate must settle like an accepted chunk. An interactive session checks before it cuts a chunk
//! into pieces: the pieces of a chunk share its number, and the front end would take all but the first of them for duplicates.

/// The sequence number of the last chunk that a stream accepted; `None` before the first numbered chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LastSequence(pub Option<u64>);

/// The relation of a chunk to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// The number is at or below the last accepted one. The chunk must be dropped.
    Duplicate,
    /// The chunk is new.
    New {
        /// Chunks between the last accepted one and this one that did not arrive. Their audio is closed up.
        missing: u64,
    },
}

impl LastSequence {
    /// Compares the number of a chunk with the last accepted one. A chunk without a number is new.
    #[must_use]
    pub fn check(self, sequence: Option<u64>) -> SequenceCheck {
        match (sequence, self.0) {
            (Some(new), Some(last)) if new <= last => SequenceCheck::Duplicate,
            (Some(new), Some(last)) => SequenceCheck::New { missing: new - last - 1 },
            _ => SequenceCheck::New { missing: 0 },
        }
    }

    /// Records the number of an accepted chunk. A chunk without a number leaves the last one as it is.
    pub fn accept(&mut self, sequence: Option<u64>) {
        self.0 = sequence.or(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_and_gaps_are_found_and_chunks_without_a_number_are_new() {
        let mut last = LastSequence::default();
        assert_eq!(
            last.check(Some(7)),
            SequenceCheck::New { missing: 0 },
            "a stream may begin at any number"
        );
        last.accept(Some(7));
        assert_eq!(last.check(Some(7)), SequenceCheck::Duplicate);
        assert_eq!(last.check(Some(0)), SequenceCheck::Duplicate);
        assert_eq!(last.check(Some(10)), SequenceCheck::New { missing: 2 });
        assert_eq!(last.check(None), SequenceCheck::New { missing: 0 });
        last.accept(None);
        assert_eq!(last, LastSequence(Some(7)));
    }
}
