//! gRPC: recognition (one stream a call), evaluation, health and reflection on one port.
//!
//! `recognition` (admission, replies) → `call` (reads one call's chunks) → shards. Invariant: a call reserves room for the events of a chunk before it
//! accepts the chunk, so a client that does not read its events slows its own stream only.

mod call;
pub mod evaluation;
mod options;
mod recognition;
pub(crate) mod refusal;
pub mod server;

pub use options::Options;
pub use recognition::{Recognition, RecognitionLinks};
