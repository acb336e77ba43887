//! The command line, the configuration, the client library and the README.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod commands;
mod config;
mod config_command;
mod config_generated;
mod config_schema;
mod config_secrets;
mod demo;
mod examples;
mod examples_go;
mod examples_node;
mod examples_python;
mod features;
mod images;
mod load;
mod page;
mod readme;
mod rules;
mod send;
mod telemetry;
mod webhook_node;
