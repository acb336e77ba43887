//! The real partition, committer and shard of a reader, with a broker that outlives it: all that is replaced are librdkafka and the model.
//!
//! Input: records, and what happens after each: acknowledgements, commits and their outcomes, crashes. Output: what was published. Asserts that a window
//! that is published again is the same as before, and that no record is refused. In data order: `input` (records and the model) → `reader` → `broker`;
//! `script` runs readers from crash to crash.

pub mod broker;
pub mod input;
pub mod reader;
pub mod script;

use std::collections::BTreeMap;

pub const IDLE_MS: i64 = 5_000;

/// Stream, channel, index, partial.
pub type Name = (String, u32, u64, bool);
/// Features and smoothed scores of a window.
pub type Window = (Vec<f32>, Vec<f32>);
pub type Published = BTreeMap<Name, Window>;
