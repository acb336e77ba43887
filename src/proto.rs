//! The protocol `affectd.v1`, generated from `proto/`: messages, services, and their proto3 JSON.

#![expect(missing_docs, reason = "generated code; the protos hold the comments")]
#![allow(clippy::all, clippy::allow_attributes, unused_qualifications, reason = "generated code")]

pub mod codec;
mod scores;
mod timestamp;

pub use timestamp::Timestamp;

tonic::include_proto!("affectd.v1");
include!(concat!(env!("OUT_DIR"), "/affectd.v1.serde.rs"));

/// The encoded descriptors, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/affectd.v1.bin"));
