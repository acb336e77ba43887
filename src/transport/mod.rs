//! Transports: how clients reach the daemon.
//!
//! [`grpc`] carries recognition, evaluation, health and reflection; [`http`] serves metrics and health to people and monitors. `connections` accepts the connections of both within
//! limits.

mod connection;
pub mod connections;
pub mod grpc;
pub mod http;
