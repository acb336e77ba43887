//! TLS, authentication, rights and limits of principals, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod exposure;
mod jwt;
mod policy;
mod principals;
mod rights;
mod tls;
mod tokens;
