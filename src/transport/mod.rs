//! Transports: how clients reach the daemon.
//!
//! [`grpc`] carries recognition, evaluation, events, calls, health and reflection; [`ingest`] accepts calls over WebSocket on the
//! port of HTTP, and over AudioSocket; [`http`] serves recordings, summaries, the page, metrics and health. `connections` accepts
//! the connections of all servers within limits, and [`Listener`] adds TLS where it is configured.

mod connection;
pub mod connections;
mod counted_body;
pub mod grpc;
pub mod http;
pub mod ingest;
mod listener;
mod own_host;

pub use listener::{Client, Connection, Listener};
pub use own_host::OwnHost;
