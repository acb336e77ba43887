//! gRPC in: `RecognitionService`, one stream a call.
//!
//! `service` (admission, answers) → `call` (reads one call's chunks) → shards. Invariant: a call takes room for the events of a chunk before
//! it lets the chunk in, so a client that does not read its events slows its own stream and nobody else's.

mod call;
mod opened;
mod options;
mod pieces;
mod refusal;
mod registry;
mod service;

pub use options::Options;
pub use registry::OpenStreams;
pub use service::{Recognition, RecognitionLinks};
