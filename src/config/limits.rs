//! The validated section `[limits]`.
//!
//! In: checked values. Out: plain values that need no further check.

use std::time::Duration;

use super::values::Values;

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// `limits.max_streams` (10,000): streams open over gRPC at once.
    pub max_streams: usize,
    /// `limits.max_utilization_percent` (80): a gRPC stream that would have open streams, at the pace of speech, take a larger
    /// share of the sessions' time is refused.
    pub max_utilization_percent: usize,
    /// `limits.shards` (0: one a core): threads of the front end.
    pub shards: usize,
    /// `limits.shard_queue` (64): chunks that may wait for a shard.
    pub shard_queue: usize,
    /// `limits.grace_period` (25 s): how long a drain may take.
    pub grace_period: Duration,
    /// `limits.scheduling` (batch): how threads share the cores.
    pub scheduling: Scheduling,
}

/// `limits.scheduling`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// A thread that wakes up waits for its turn: inference keeps its caches, and a window costs less.
    Batch,
    /// As the system does by itself: it takes a core at once.
    Normal,
}

impl Limits {
    pub(super) fn from_values(values: &Values) -> Self {
        let scheduling = match values.text("limits.scheduling").as_str() {
            "normal" => Scheduling::Normal,
            _ => Scheduling::Batch,
        };
        Self {
            max_streams: values.size("limits.max_streams"),
            max_utilization_percent: values.size("limits.max_utilization_percent"),
            shards: values.size("limits.shards"),
            shard_queue: values.size("limits.shard_queue"),
            grace_period: values.duration("limits.grace_period"),
            scheduling,
        }
    }
}
