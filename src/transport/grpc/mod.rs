//! gRPC: recognition (one stream a call), evaluation, health and reflection on one port.
//!
//! In data order: `server` (the port) → `recognition` (a call and its session) → [`crate::session`] → the shards. `evaluation` serves labelled clips,
//! `status` maps refusals to status codes. Invariant: no rule about streams stands here.

mod calls;
pub mod evaluation;
mod options;
mod recognition;
pub mod server;
mod status;

pub use calls::Calls;
pub use options::Options;
pub use recognition::Recognition;
