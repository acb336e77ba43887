//! Kafka in: partitions to chunks, settled offsets back, at least once.
//!
//! `record` (what a record holds) → `reader` (the thread that owns the consumer) → shards; `offset_tracker` (which offsets are settled) and
//! `progress` (where streams stand) are pure. Invariant: the group's offset never passes a chunk that a window still needs.

mod client;
mod commit;
pub mod event_sink;
mod fetched;
mod links;
mod offset_tracker;
mod partition;
pub mod producer;
mod progress;
mod progress_topic;
mod reader;
mod rebalance;
mod record;
mod tracked_stream;
mod turn;

pub(crate) use client::broker;
pub use client::{KafkaFault, QUESTION, ensure_topics, settings};
pub use links::ReaderLinks;
pub use offset_tracker::{Idle, OffsetTracker};
pub use progress::{Entry, Progress, Record, State};
pub use reader::Reader;
pub use record::{AudioRecord, BadRecord, CONTENT_TYPE, FIRST_SAMPLE, LAST, RawRecord, SEQUENCE};
