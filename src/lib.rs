//! affectd recognises emotion in speech and publishes it.
//!
//! ```text
//!  kafka::reader ──┐
//!  transport::grpc ┴─ chunk ─▶ session ─▶ shard: audio → window → features ─ job ─▶ batch ─▶ model ─ result ─▶ publish ─▶ gRPC replies, Kafka
//!                                                                             ▲   (serving)                      │
//!                                                                evaluation ──┘◀─────────────────────────────────┘
//! ```
//!
//! Audio flows one way; only a caller's reply and a settled offset come back. [`daemon`] connects the stages in this order.
//!
//! The modules below are listed from the lowest layer to the highest: a module uses only modules above it in the list.

pub mod audio;
pub mod batch;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod datasets;
pub mod evaluation;
pub mod features;
pub mod kafka;
pub mod model;
pub mod offline;
pub mod options;
pub mod perf;
pub mod proto;
pub mod publish;
pub mod serving;
pub mod session;
pub mod shard;
mod simd;
pub mod stream;
pub mod telemetry;
#[cfg(feature = "train")]
pub mod train;
pub mod transport;
pub mod vad;
pub mod window;
