//! Telephony and raw audio over WebSocket, on the port of HTTP.
//!
//! Input: connections. Output: streams as sessions, with the call that they are part of. In data order: `access` (who may connect) → `raw`
//! (the protocol) → `intake` (audio that waits for the engine) → [`crate::session`]. Invariant: reading never waits for the engine: what does
//! not fit in the intake is dropped, counted, and becomes a hole.

mod access;
mod intake;
mod options;
mod raw;
mod raw_format;

pub use access::Access;
pub use options::Options;
pub(super) use raw::listen;
