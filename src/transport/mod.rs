//! Transports: how clients reach the daemon.
//!
//! [`grpc`] carries recognition, evaluation, health and reflection; [`http`] serves metrics and health to people and monitors.

pub mod grpc;
pub mod http;
