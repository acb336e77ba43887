//! Telemetry off, parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    affectd::cli::isolation::disable_telemetry();
    affectd::cli::run(affectd::cli::Cli::parse())
}
