//! Where events go: back to their gRPC call, to Kafka, or to an evaluation's reply.

pub mod event;
pub mod publisher;
pub mod smoothing;
pub mod stream_states;

pub use event::EventFactory;
