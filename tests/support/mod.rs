//! What several tests share: a Kafka to talk to and the daemon as a process of its own.
//!
//! In: what a test asks for. Out: running things that end with the test. Never holds an assertion about affectd.

#![allow(dead_code, reason = "each test is its own binary and uses a part of this module")]

pub mod broker;
pub mod daemon;
pub mod kafka;
pub mod records;
pub mod streams;
