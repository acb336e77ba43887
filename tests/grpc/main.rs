//! The daemon as a process, driven over gRPC and HTTP.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod analyze;
mod audiohook;
mod audiosocket;
mod audiosocket_faults;
mod bad_input;
mod call_streams;
mod calls;
mod capacity;
mod channels;
mod chunking;
mod clients;
mod drain;
mod endings;
mod failures;
mod live;
mod models;
mod other_clients;
mod out_of_domain;
mod recognize;
mod slow_client;
mod smoothing;
mod startup_errors;
mod stderr;
mod telnyx;
mod twilio;
mod twilio_faults;
mod voice_activity;
mod watch;
mod waveform;
mod websocket;
mod websocket_faults;
mod websocket_slow;
