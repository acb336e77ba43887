//! Telemetry off, parse, run, exit code.

use affectd::cli::{self, Cli, exit, isolation};
use clap::Parser;

fn main() {
    isolation::disable_telemetry();
    exit::exit(cli::run(Cli::parse()))
}
