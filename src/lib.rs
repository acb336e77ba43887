//! affectd listens to speech and publishes emotion.

pub mod audio;
pub mod batch;
pub mod cli;
pub mod client;
pub mod config;
pub mod envelope;
pub mod evaluation;
pub mod features;
pub mod http;
pub mod ingest;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod proto;
pub mod publish;
pub mod server;
pub mod stream;
#[cfg(feature = "train")]
pub mod train;
