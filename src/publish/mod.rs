//! Where events go: back to their gRPC call, to Kafka, or to an evaluation's reply.

pub mod event;
mod options;
pub mod publisher;
pub mod smoothing;
pub mod stream_smoother;

pub use event::EventFactory;
pub use options::{Options, Smoothing, SmoothingMethod};
