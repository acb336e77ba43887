//! Transports: how clients reach the daemon.
//!
//! [`grpc`] carries recognition, evaluation, health and reflection; [`http`] serves metrics and health to people and monitors. Both accept
//! connections from a [`Listener`], with or without TLS.

pub mod grpc;
pub mod http;
mod listener;

pub use listener::{Connection, Listener};
