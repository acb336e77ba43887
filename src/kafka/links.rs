//! What the Kafka reader is connected to.

use std::time::Duration;

use crate::kafka::producer::EventProducer;
use crate::serving::RegistryReceiver;
use crate::shard::PartitionReport;
use crate::shard::Shards;
use crate::telemetry::Readiness;

/// What the reader is connected to.
pub struct ReaderLinks {
    /// Chunks go here.
    pub shards: Shards,
    /// Models to choose from.
    pub registries: RegistryReceiver,
    /// What becomes of them comes from here.
    pub reports: crossbeam_channel::Receiver<PartitionReport>,
    /// Dead letters go here.
    pub producer: EventProducer,
    /// Is told when partitions are assigned.
    pub readiness: Readiness,
    /// How long a stream may be silent.
    pub idle_timeout: Duration,
    /// How long giving up a partition may take.
    pub grace_period: Duration,
}
