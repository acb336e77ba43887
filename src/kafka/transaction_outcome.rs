//! Whether a transaction was committed, where its producer cannot tell.
//!
//! Input: a commit. Output: whether the group has its offsets, whose metadata names the writer and the number of the commit. Blocks its thread until the
//! brokers answer.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::clients::{REQUEST_TIMEOUT, ReaderContext};
use super::commit::{Commit, PartitionCommit};
use super::commit_metadata::CommitMetadata;
use super::options::Options;
use super::transaction_producer::RETRY;

/// Returns whether the group has the offsets of a commit.
pub(super) fn is_committed(kafka: &Options, consumer: &BaseConsumer<ReaderContext>, commit: &Commit) -> bool {
    let with_offset = |part: &&PartitionCommit| part.offset.is_some();
    let parts: Vec<&PartitionCommit> = commit.partitions.iter().filter(with_offset).collect();
    let mut wanted = TopicPartitionList::new();
    for part in &parts {
        wanted.add_partition(&kafka.input_topic, part.assignment.partition);
    }
    if parts.is_empty() {
        return false;
    }
    loop {
        match consumer.committed_offsets(wanted.clone(), REQUEST_TIMEOUT) {
            Ok(found) if found.elements().iter().all(|element| element.error().is_ok()) => {
                return has_commit(&found, &kafka.input_topic, &parts);
            }
            Ok(_) => std::thread::sleep(RETRY),
            Err(error) => {
                tracing::warn!("the outcome of a transaction is not known yet: {error}");
                std::thread::sleep(RETRY);
            }
        }
    }
}

/// Returns whether a group's offsets have those of a commit, which is applied as a whole. One partition shows it: the others may have a next reader, which has
/// committed since.
fn has_commit(found: &TopicPartitionList, topic: &str, parts: &[&PartitionCommit]) -> bool {
    parts.iter().any(|part| {
        let found = found.find_partition(topic, part.assignment.partition);
        found.is_some_and(|found| CommitMetadata::parse(found.metadata()) == part.metadata)
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::topic_partition_list::Offset;

    use super::*;
    use crate::kafka::commit_metadata::RecordWriters;
    use crate::stream::Assignment;

    fn metadata(writer: &str, number: u64) -> CommitMetadata {
        CommitMetadata { writer: Some(writer.to_owned()), number, streams: 2 }
    }

    fn part(partition: i32, number: u64) -> PartitionCommit {
        PartitionCommit {
            assignment: Assignment { partition, number: 1 },
            progress: Vec::new(),
            writers: RecordWriters::default(),
            offset: Some(10),
            committed: Some(8),
            metadata: metadata("this", number),
            ended: Vec::new(),
        }
    }

    #[test]
    fn a_commit_is_found_although_another_reader_has_committed_one_of_its_partitions_since() {
        let mut found = TopicPartitionList::new();
        for (partition, metadata) in [(0, metadata("next", 1)), (1, metadata("this", 7))] {
            let mut element = found.add_partition("audio", partition);
            element.set_offset(Offset::Offset(12)).unwrap();
            element.set_metadata(metadata.to_json());
        }
        let (taken_over, own) = (part(0, 7), part(1, 7));
        assert!(has_commit(&found, "audio", &[&taken_over, &own]));
        assert!(!has_commit(&found, "audio", &[&taken_over, &part(1, 8)]), "only the one before was applied");
    }
}
