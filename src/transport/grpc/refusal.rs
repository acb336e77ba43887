//! How a call says no: INVALID_ARGUMENT, naming the field, counted by its reason.
//!
//! In: what is bad about a request. Out: the status that its call ends with.

use tonic::{Code, Status};

use crate::stream::BadChunk;
use crate::telemetry::metrics;

/// A bad chunk, counted.
pub fn refusal(bad: &BadChunk) -> Status {
    invalid(bad.reason(), bad.to_string())
}

/// A bad request, counted by its reason.
pub fn invalid(reason: &'static str, text: impl Into<String>) -> Status {
    metrics::rejected(metrics::Source::GRPC, reason);
    Status::invalid_argument(text)
}

/// A message that the transport refused to read whole is a chunk over the limit in bytes.
pub fn too_large(status: Status, limit: usize) -> Status {
    if status.code() != Code::OutOfRange {
        return status;
    }
    let reason = status.message();
    let text = format!("audio: {reason}; at most {limit} bytes a chunk are allowed (audio.max_chunk_bytes)");
    invalid("chunk_too_large", text)
}
