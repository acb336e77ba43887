//! `affectd model bench`: how many windows a second the model makes on this machine, and what the front end costs.
//!
//! In: an ONNX file, else the configured model, else the one inside the binary. Out: a table or JSON on stdout.

use std::io::{self, Write};
use std::time::Duration;

use super::model::{Format, ModelArgs, source};
use crate::bench;
use crate::config::Config;

/// Arguments of `affectd model bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which model, and how to write.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How long it may take in all, about; fewer seconds leave out large batches and measure less surely
    #[arg(long, value_name = "S", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// Runs the command. Cancelling it leaves the measuring threads to end by themselves.
pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<()> {
    let source = source(args.model.file, &config);
    let budget = Duration::from_secs(args.seconds);
    let measured = tokio::task::spawn_blocking(move || bench::run(&source, &config, budget));
    let report = measured.await??;
    let mut out = io::stdout().lock();
    match args.model.format {
        Format::Table => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(())
}
