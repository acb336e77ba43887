//! What several tests share: a Kafka to talk to, the daemon as a process of its own, and fixtures.
//!
//! In: what a test asks for. Out: running things that end with the test. Never holds an assertion about affectd.

#![expect(dead_code, reason = "each test binary uses a part of this module")]

pub mod batch_fixture;
pub mod broker;
pub mod call_fixture;
pub mod daemon;
pub mod decoder_entries;
pub mod gated_talk;
pub mod kafka;
pub mod ledger_fixture;
pub mod load_report;
pub mod model_fixture;
pub mod records;
pub mod speech_fixture;
pub mod stream_fixture;
pub mod streams;
#[cfg(feature = "train")]
pub mod train_fixture;
