//! Where audio comes in: gRPC calls and Kafka's partitions.

pub mod grpc;
pub mod kafka;
