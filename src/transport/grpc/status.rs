//! The gRPC status of a refusal: the one place where refusals become status codes.
//!
//! Input: a [`Refusal`], or a status with which the transport refused a message. Output: a status whose message names the field, its value and what
//! is allowed.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::session::{Refusal, RefusalClass, SessionError};
use crate::telemetry::excerpt;

/// The beginning of tonic's message where a message is not protobuf.
const UNDECODABLE: &str = "failed to decode Protobuf message";

/// How long a client should wait before it tries again where a limit is reached.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Returns the status of a refused stream.
pub(super) fn status(refusal: &Refusal) -> Status {
    let code = match refusal.class() {
        RefusalClass::InvalidInput => Code::InvalidArgument,
        RefusalClass::AlreadyOpen => Code::AlreadyExists,
        RefusalClass::LimitReached => Code::ResourceExhausted,
        RefusalClass::TimedOut => Code::DeadlineExceeded,
        RefusalClass::Unavailable => Code::Unavailable,
    };
    match code {
        Code::ResourceExhausted => exhausted(refusal.to_string()),
        _ => Status::new(code, refusal.to_string()),
    }
}

/// Returns the status of a limit that is reached for now.
pub(super) fn exhausted(message: String) -> Status {
    exhausted_for(message, RETRY_DELAY)
}

/// Returns the status of a limit that is reached, with the time after which the client may try again (`google.rpc.RetryInfo`).
pub(super) fn exhausted_for(message: String, delay: Duration) -> Status {
    Status::with_error_details(Code::ResourceExhausted, message, ErrorDetails::with_retry_info(Some(delay)))
}

/// Returns the status with which a session ended.
pub(super) fn status_of_session(error: SessionError<Status>) -> Status {
    match error {
        SessionError::Refused(refusal) => status(&refusal),
        SessionError::Transport(status) => status,
    }
}

/// Returns the error of a message that could not be read. One that tonic refuses for its size is a chunk over the limit of `max_chunk_bytes`.
pub(super) fn read_error(status: Status, max_chunk_bytes: usize) -> SessionError<Status> {
    match status.code() {
        // The second code is that of a compressed message which is too large once it is decompressed.
        Code::OutOfRange | Code::ResourceExhausted if !is_memory(&status) => {
            let reason = status.message().to_owned();
            SessionError::Refused(Refusal::MessageTooLarge { reason, limit: max_chunk_bytes })
        }
        _ => SessionError::Transport(status),
    }
}

/// Returns whether a message was refused because the budget of memory has no room.
fn is_memory(status: &Status) -> bool {
    status.message().contains("limits.max_memory_bytes")
}

/// Returns whether tonic could not decode a message. It reports that as a failure of the server.
pub(super) fn is_undecodable(status: &Status) -> bool {
    status.code() == Code::Internal && status.message().starts_with(UNDECODABLE)
}

/// Returns the status of a message that is not the protobuf message that the method takes.
pub(super) fn undecodable(status: &Status) -> Status {
    Status::invalid_argument(format!("message: {}", excerpt(status.message())))
}

/// Returns the status of an evaluation that a drain ends. Unlike a stream, an evaluation cannot go on where it ended.
pub(super) fn draining_evaluation() -> Status {
    Status::unavailable("affectd is shutting down: evaluate again when it is back")
}
