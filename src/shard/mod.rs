//! Shards: threads that own open streams.
//!
//! Input: chunks of any source, in order for each stream. Output: one job a window to its model's batcher, refusals to the source, and reports to the
//! reader of a partition.
//!
//! In data order: `threads` (which thread owns a stream) → `message` (what it receives) → `shard` (the streams of one thread; `shard_files`
//! their files) → `open_stream` (one stream with its source) → `output` (its windows become jobs) → `backlog` (jobs without room wait, with
//! their stream). `shadow_stream` feeds models on trial. `call_marks` sends the markers of summaries, `stream_reports` the reports and metrics of
//! a stream; `report` defines the messages to the reader of a partition. `scratch_pool` holds the buffers that the streams of a thread share.

mod backlog;
#[cfg(test)]
mod backlog_tests;
mod block_on;
mod call_marks;
mod decodings;
mod file_stream;
mod full_queue;
mod message;
mod open_stream;
mod output;
mod report;
mod scratch_pool;
mod shadow_stream;
#[expect(clippy::module_inception, reason = "the type gives the file its name")]
mod shard;
mod shard_files;
mod stream_reports;
mod threads;

pub use message::{ChunkEnvelope, ChunkSource, ShardMessage, StreamKey};
pub use report::{ChunkAccepted, PartitionReport, ReportSender};
pub use shard::Shard;
pub use threads::{ShardThreads, Shards, start};
