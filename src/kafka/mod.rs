//! Kafka: every client of the process, and the reader that turns records into chunks and commits what has settled.
//!
//! Input: records of the input topic, and reports of the shards and sinks. Output: chunks for the shards; events, dead letters, progress and offsets at
//! the brokers. In data order: `record` (what a record holds) → `partition` (one assigned partition, with its `offset_tracker` and the `tracked_progress`) → `reader` (the thread that
//! owns the consumer: `dispatch`, `rebalance` and `assignment`) → `commit` (what is due) → `delivery` (how it becomes durable). `clients` has every
//! producer, consumer and admin client; `progress`, `progress_topic` and `progress_writer` are what a stream needs after a restart.
//!
//! Invariant: the group's committed offset never passes a chunk that a window still needs.

mod acknowledgements;
mod assignment;
mod batch_limit;
pub mod clients;
mod closing;
mod commit;
mod commit_metadata;
mod contexts;
mod dead_letters;
mod delivery;
mod dispatch;
pub mod event_sink;
mod fault;
mod fetched;
mod health;
mod idle_ends;
mod offset_tracker;
mod options;
pub(crate) mod outage;
mod outbox;
mod outgoing;
mod partition;
mod partition_clock;
mod partition_commit;
mod partition_end;
pub mod producer;
mod progress;
mod progress_log;
mod progress_topic;
mod progress_writer;
mod reader;
mod reader_commit;
mod rebalance;
mod record;
mod refusal;
mod rejoin;
mod replay;
mod reset;
mod secrets;
mod silence;
mod snapshot;
mod statistics;
mod stream_state;
mod topics;
mod tracked_progress;
mod tracked_stream;
mod transaction;
mod transaction_buffer;
mod transaction_outcome;
mod transaction_producer;
mod turns;
mod unacknowledged;

pub use batch_limit::batch_limit;
pub use commit::{Commit, CommitOutcome, Committer, GroupMember, PartitionCommit, TransactionRecord};
pub use commit_metadata::{CommitMetadata, Committed, RecordWriters};
pub use dead_letters::DeadLetter;
pub use delivery::{AtLeastOnce, Delivery};
pub(crate) use fault::broker;
pub use fault::{KafkaFault, LostProgress};
pub use offset_tracker::{Idle, OffsetTracker};
pub use options::*;
pub use partition::{Partition, PartitionStart};
pub use partition_end::PartitionEnd;
pub use progress::{LaterEpoch, LaterIdleEnds, Progress, ProgressEntry, ProgressRecord};
pub use progress_log::{ProgressLog, ResolvedProgress};
pub use reader::{Reader, ReaderLinks};
pub use record::{AudioRecord, BadRecord, CONTENT_TYPE, FIRST_SAMPLE, LAST, RawRecord, SEQUENCE};
pub use replay::{Replayer, StoredLetter};
pub use secrets::{MASK, ValueSource, is_secret};
pub use snapshot::{PartitionOffsets, TopicRecord, offsets, progress, read_topic};
pub use stream_state::StreamState;
pub use topics::ensure_topics;
pub use transaction_buffer::event_channel;
