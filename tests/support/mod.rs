//! What the test binaries share: a Kafka cluster, the daemon as a separate process, and fixtures.
//!
//! Input: what a test requests. Output: running processes that end with the test, and test data.

#![expect(dead_code, reason = "each test binary uses a part of this module")]

use std::time::Duration;

pub mod acl;
pub mod audiohook_client;
pub mod audiosocket_client;
pub mod batch_fixture;
pub mod broker;
pub mod call_fixture;
pub mod call_sounds;
pub mod certificates;
pub mod credentials;
pub mod daemon;
pub mod decoder_entries;
#[cfg(feature = "train")]
pub mod encoder_fixture;
pub mod flac_bomb;
pub mod gated_talk;
pub mod kafka;
pub mod kafka_calls;
pub mod load_report;
pub mod model_fixture;
pub mod partition_fixture;
pub mod raw_codec;
pub mod records;
pub mod speech_fixture;
pub mod stream_fixture;
pub mod streams;
#[cfg(feature = "train")]
pub mod train_fixture;
pub mod twilio_fixture;
pub mod victim;
pub mod websocket_client;

/// An address at which nothing listens: the port is below those that a test can be given, and no service in use has it.
pub const UNUSED_ADDRESS: &str = "127.0.0.1:1";

/// Longer than any step takes on a slow machine; reached only if something is broken.
pub const PATIENCE: Duration = Duration::from_secs(180);
