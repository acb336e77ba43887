//! Which progress records belong to a committed offset.
//!
//! Input: the records of a partition of the progress topic, in order, and the commit. Output: the entry of each open stream, records that are void, and
//! what is lost. Pure.
//!
//! The newest record of a stream is not always the right one. A process that was stopped for longer than the session timeout writes its progress when it
//! goes on; the broker refuses the commit that follows, but the record lies behind those of the new owner. So the newest record of each writer is kept,
//! and the commit's metadata names the writer that counts. Compaction may remove that writer's record in favour of one of a writer whose commit never
//! came; then the entry `acknowledged` of the latter takes its place.

use std::collections::HashMap;
use std::sync::Arc;

use super::commit_metadata::{Committed, RecordWriters};
use super::progress::{Progress, ProgressEntry};

/// The records of one partition of the progress topic.
#[derive(Debug, Default)]
pub struct ProgressLog {
    /// The newest record of each writer, the newest last.
    streams: HashMap<Arc<str>, Vec<Written>>,
}

/// A record; without progress it is a tombstone.
#[derive(Debug, Clone)]
struct Written {
    writers: RecordWriters,
    progress: Option<Progress>,
}

/// What the records of a partition say about a committed offset.
#[derive(Debug, Default)]
pub struct ResolvedProgress {
    /// The entry of each stream that has progress at the offset.
    pub open: HashMap<Arc<str>, ProgressEntry>,
    /// Streams that have only records of other writers. These records are void and can be deleted.
    pub void: Vec<Arc<str>>,
    /// Streams whose progress belongs to another offset, each with its newest record.
    pub lost: Vec<(Arc<str>, Progress)>,
    /// Streams that had progress when the offset was committed and have no record any more.
    pub missing: usize,
}

impl ProgressLog {
    /// Adds the next record of the partition.
    pub fn push(&mut self, stream_id: Arc<str>, writers: RecordWriters, progress: Option<Progress>) {
        let records = self.streams.entry(stream_id).or_default();
        records.retain(|record| record.writers.next != writers.next);
        records.push(Written { writers, progress });
    }

    /// Returns what belongs to a commit.
    #[must_use]
    pub fn resolve(self, committed: &Committed) -> ResolvedProgress {
        let mut resolved = ResolvedProgress::default();
        for (stream_id, records) in self.streams {
            match find(&records, committed) {
                Found::Entry(entry) => drop(resolved.open.insert(stream_id, entry.clone())),
                Found::Lost(progress) => resolved.lost.push((stream_id, progress.clone())),
                Found::Nothing if records.last().is_some_and(|newest| newest.progress.is_some()) => {
                    resolved.void.push(stream_id);
                }
                Found::Nothing => {}
            }
        }
        let found = resolved.open.len() + resolved.lost.len();
        resolved.missing = committed.metadata.streams.saturating_sub(found);
        resolved
    }
}

/// The search's result for one stream.
enum Found<'a> {
    Entry(&'a ProgressEntry),
    Lost(&'a Progress),
    Nothing,
}

fn find<'a>(records: &'a [Written], committed: &Committed) -> Found<'a> {
    match &committed.metadata.writer {
        Some(writer) => of_writer(records, committed.offset, writer),
        None => of_any_writer(records, committed.offset),
    }
}

/// Finds the entry that the writer of the commit has written, or that a later writer has repeated.
fn of_writer<'a>(records: &'a [Written], offset: Option<i64>, writer: &str) -> Found<'a> {
    let is = |name: &Option<String>| name.as_deref() == Some(writer);
    if let Some(own) = records.iter().rfind(|record| is(&record.writers.next)) {
        return match &own.progress {
            None => Found::Nothing,
            Some(progress) => progress.fitting(offset).map_or(Found::Lost(progress), Found::Entry),
        };
    }
    let repeated = records.iter().rev().filter(|record| is(&record.writers.acknowledged));
    let entry = repeated.filter_map(|record| record.progress.as_ref()?.acknowledged_at(offset)).next();
    entry.map_or(Found::Nothing, Found::Entry)
}

/// Finds the entry that fits the offset of a commit without metadata: it was made by an older version, whose records name no writer, or by a tool.
fn of_any_writer(records: &[Written], offset: Option<i64>) -> Found<'_> {
    let Some(newest) = records.last().and_then(|newest| newest.progress.as_ref()) else {
        return Found::Nothing;
    };
    let unnamed = records.iter().rev().filter(|record| record.writers.next.is_none());
    let mut entries = unnamed.chain(records.iter().rev()).filter_map(|record| record.progress.as_ref());
    let entry = entries.find_map(|progress| progress.fitting(offset));
    entry.map_or(Found::Lost(newest), Found::Entry)
}
