//! Telephony and raw audio: WebSockets on the port of HTTP, and AudioSocket on a port of its own.
//!
//! Input: connections. Output: streams as sessions, with the call that they are part of. In data order: `access` (who may connect) → `raw`,
//! `twilio`, `audiohook`, `audiosocket` (the protocols, over a `websocket` or TCP) → `privacy` (personal attributes) → `intake` (audio that waits for the engine) →
//! [`crate::session`]. Invariant: reading never waits for the engine: what does not fit in the intake is dropped, counted, and becomes a hole.

mod access;
mod admission;
mod audiohook;
mod audiohook_keys;
mod audiohook_message;
mod audiohook_protocol;
mod audiohook_signature;
mod audiosocket;
mod audiosocket_calls;
mod audiosocket_frame;
mod encoding_name;
mod intake;
mod live_stream;
mod options;
mod plausibility;
mod privacy;
mod privacy_options;
mod raw;
mod raw_format;
mod twilio;
mod websocket;

pub use access::Access;
use access::Handshake;
pub(super) use audiohook::audiohook;
pub use audiohook_keys::ApiKey;
pub use audiosocket::{AudioSocket, serve as serve_audiosocket};
pub(super) use audiosocket_calls::announce;
pub use audiosocket_calls::{AnnouncedCall, AnnouncedCalls};
pub use options::Options;
pub use privacy_options::PrivacyOptions;
pub(super) use raw::listen;
pub(super) use twilio::twilio;
