//! Telephony and raw audio over WebSocket, on the port of HTTP.
//!
//! Input: connections. Output: streams as sessions, with the call that they are part of. In data order: `access` (who may connect) → `raw`,
//! `twilio` (the protocols) → `privacy` (personal attributes) → `intake` (audio that waits for the engine) → [`crate::session`]. Invariant: reading never waits for the engine: what does
//! not fit in the intake is dropped, counted, and becomes a hole.

mod access;
mod intake;
mod options;
mod plausibility;
mod privacy;
mod privacy_options;
mod raw;
mod raw_format;
mod twilio;

pub use access::Access;
pub use options::Options;
pub use privacy_options::PrivacyOptions;
pub(super) use raw::listen;
pub(super) use twilio::twilio;
