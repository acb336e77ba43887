//! Every test that needs a Kafka cluster, and offset tracking without one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod at_least_once;
mod bad_records;
mod calls;
mod channels;
mod closing;
mod crash;
mod dead_letters;
mod declared;
mod exactly_once;
mod failures;
mod files;
mod harness;
mod input_topic;
mod lag;
mod load;
mod models;
mod other_clients;
mod out_of_domain;
mod outage;
mod progress;
mod progress_topic;
mod rebalance;
mod send;
mod tail;
mod transactions;
mod transports;
mod voice_activity;
mod wall_time_ends;
mod writers;
