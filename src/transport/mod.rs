//! Transports: how clients reach the daemon.
//!
//! [`grpc`] carries recognition, evaluation, health and reflection; [`http`] serves metrics and health to people and monitors, and recordings.
//! `connections` accepts the connections of both within limits, `listener` adds TLS.

mod connection;
pub mod connections;
pub mod grpc;
pub mod http;
mod listener;

pub use listener::Port;
