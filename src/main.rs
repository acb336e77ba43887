//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    affectd::cli::run(affectd::cli::Cli::parse())
}
