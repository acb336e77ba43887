//! The details of a status after which the client may try again: `google.rpc.RetryInfo` in `google.rpc.Status`.
//!
//! Input: the delay. Output: the encoded details. The messages are those of google/rpc/status.proto and google/rpc/error_details.proto.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<pbjson_types::Any>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<pbjson_types::Duration>,
}

/// Returns a status with the delay after which the client may try again.
pub(super) fn retry_after(code: Code, message: String, delay: Duration) -> Status {
    let info = RetryInfo { retry_delay: Some(delay.into()) };
    let detail = pbjson_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec().into(),
    };
    let rich = RichStatus { code: code as i32, message: message.clone(), details: vec![detail] };
    Status::with_details(code, message, rich.encode_to_vec().into())
}
