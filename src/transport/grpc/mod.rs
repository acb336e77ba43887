//! gRPC: recognition (one stream a call), evaluation, health and reflection on one port.
//!
//! In data order: `server` (the port) → `authorize` (the principal of a call) → `recognition` (a call and its session) → [`crate::session`] → the shards. `evaluation` serves labelled clips,
//! `status` maps refusals to status codes. Invariant: no rule about streams stands here.

mod authorize;
pub mod evaluation;
mod options;
mod recognition;
pub mod server;
mod status;

pub use options::Options;
pub use recognition::Recognition;
