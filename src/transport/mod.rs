//! Transports: how clients reach the daemon.
//!
//! [`grpc`] carries recognition, evaluation, events, health and reflection; [`http`] serves recordings, metrics and health to people and monitors. `connections` accepts
//! the connections of both within limits, and [`Listener`] adds TLS where it is configured.

mod connection;
pub mod connections;
pub mod grpc;
pub mod http;
mod listener;

pub use listener::{Client, Connection, Listener};
