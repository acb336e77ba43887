//! The section `[limits]` of the configuration, which spans several modules.
//!
//! Input: values that serde reads. Output: how much work the daemon accepts and how it uses the machine.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{AnyDuration, As, Count, Optional, PositiveDuration, choice};
use crate::security::PrincipalLimits;
use crate::stream::InputBounds;

const MEBIBYTE: usize = 1 << 20;
const MOST_MEMORY: usize = 1 << 40;

/// How much work the daemon accepts, and how it uses the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most streams that are open at once, without those of Kafka.
    #[serde(with = "As::<Count<1, 10_000_000>>")]
    pub max_streams: usize,
    /// Percentage of the sessions' time that open streams may use at the pace of speech; a stream that does not come from Kafka and would
    /// exceed it is refused.
    #[serde(with = "As::<Count<1, 1_000_000>>")]
    pub max_utilization_percent: usize,
    /// How many times as fast as speech a gRPC, HTTP or WebSocket stream may be sent before it is ahead of real time: streams that are ahead share a
    /// small number of pending windows in front of the model, and windows of the others pass those that wait.
    #[serde(with = "As::<Count<1, 1_000>>")]
    pub max_pace: usize,
    /// Most streams that one principal has open at once, without those of Kafka; no limit where it is not set. Limits of principals apply where
    /// authentication is on.
    #[serde(with = "As::<Optional<Count<1, 10_000_000>>>")]
    #[schemars(example = 100)]
    pub principal_streams: Option<usize>,
    /// Most streams that one principal opens in a second, without those of Kafka.
    #[serde(with = "As::<Optional<Count<1, 10_000_000>>>")]
    #[schemars(example = 20)]
    pub principal_streams_per_second: Option<usize>,
    /// Most bytes of audio that one principal sends in a second; further chunks wait.
    #[serde(with = "As::<Optional<Count<1, 1_000_000_000_000>>>")]
    #[schemars(example = 10_000_000)]
    pub principal_bytes_per_second: Option<usize>,
    /// Most evaluations that one principal runs at once.
    #[serde(with = "As::<Optional<Count<1, 10_000_000>>>")]
    #[schemars(example = 2)]
    pub principal_evaluations: Option<usize>,
    /// Most bytes of an id or a name that a client chooses: of a stream, a model, a channel, a clip, a speaker, a label.
    #[serde(with = "As::<Count<1, 4096>>")]
    pub max_id_bytes: usize,
    /// Most bytes of the names and values of a stream's attributes, which every event repeats.
    #[serde(with = "As::<Count<0, 65_536>>")]
    pub max_attribute_bytes: usize,
    /// Most memory for what clients make the daemon hold: files that are sent and decoded, and large messages.
    #[serde(with = "As::<Count<MEBIBYTE, MOST_MEMORY>>")]
    pub max_memory_bytes: usize,
    /// Longest time from the start of a gRPC call to its first message.
    #[serde(with = "As::<PositiveDuration>")]
    pub first_chunk_timeout: Duration,
    /// Threads of the front end; 0 means one for each core.
    #[serde(with = "As::<Count<0, 1024>>")]
    pub shards: usize,
    /// Chunks that may wait for one thread of the front end.
    #[serde(with = "As::<Count<1, 1_000_000>>")]
    pub shard_queue: usize,
    /// Longest time that a drain takes.
    #[serde(with = "As::<AnyDuration>")]
    pub grace_period: Duration,
    /// Longest time that the windows of Kafka partitions which are revoked may take, before what is left is given up and read again by
    /// the next reader.
    #[serde(with = "As::<AnyDuration>")]
    pub revoke_timeout: Duration,
    /// How threads share the cores on Linux: with `batch` a thread that wakes up waits until a core is free, which
    /// analyses more windows a second; with `normal` it may interrupt another thread at once.
    pub scheduling: Scheduling,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_streams: 10_000,
            max_utilization_percent: 80,
            max_pace: 2,
            principal_streams: None,
            principal_streams_per_second: None,
            principal_bytes_per_second: None,
            principal_evaluations: None,
            max_id_bytes: InputBounds::default().max_id_bytes,
            max_attribute_bytes: InputBounds::default().max_attribute_bytes,
            max_memory_bytes: 1 << 30,
            first_chunk_timeout: Duration::from_secs(10),
            shards: 0,
            shard_queue: 64,
            grace_period: Duration::from_secs(25),
            revoke_timeout: Duration::from_secs(5),
            scheduling: Scheduling::Batch,
        }
    }
}

choice! {
    /// Values of `limits.scheduling`.
    pub enum Scheduling {
        /// A thread that wakes up waits for its turn, so that inference keeps its caches and a window costs less.
        Batch = "batch",
        /// The default of the operating system: a thread that wakes up may interrupt another one.
        Normal = "normal",
    }
}

impl Limits {
    /// Returns the limits of each principal.
    #[must_use]
    pub fn of_principals(&self) -> PrincipalLimits {
        PrincipalLimits {
            streams: self.principal_streams,
            streams_per_second: self.principal_streams_per_second,
            bytes_per_second: self.principal_bytes_per_second,
            evaluations: self.principal_evaluations,
        }
    }

    /// Returns the bounds of what a stream declares.
    #[must_use]
    pub fn bounds(&self) -> InputBounds {
        let Self { max_id_bytes, max_attribute_bytes, .. } = *self;
        InputBounds { max_id_bytes, max_attribute_bytes }
    }

    /// Returns the number of shards: `limits.shards`, or the number of cores where it is 0.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            shards => shards,
        }
    }
}
