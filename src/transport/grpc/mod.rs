//! gRPC: recognition (one stream a call), evaluation, events, health and reflection on one port.
//!
//! In data order: `server` (the port) → `authorize` (the principal of a call) → `recognition` (a call and its session) → [`crate::session`] → the shards.
//! `calls` is what every call passes, `evaluation` serves labelled clips, `events` published events, `deadline` ends calls in time, `status` maps refusals to status codes. Invariant: no
//! rule about streams stands here.

mod authorize;
mod call_service;
mod calls;
mod deadline;
pub mod evaluation;
mod events;
mod metered_body;
mod options;
mod recognition;
pub mod server;
mod status;

pub use call_service::Calls;
pub use events::Events;
pub use options::Options;
pub use recognition::Recognition;
