//! `affectd model bench`: the throughput of a model on this machine, and the CPU time of its front end.
//!
//! Input: an ONNX file, or the configured model, or the built-in model. Output: a table or JSON on stdout.

use std::io::{self, Write};
use std::time::Duration;

use super::model::{ModelArgs, ReportFormat, source};
use crate::config::Config;
use crate::perf::benchmark;

/// Arguments of `affectd model bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model and the output format.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Approximate total time; with less time, large batches are skipped and the results are less precise
    #[arg(long, value_name = "S", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// Runs the command. After cancellation, the measuring threads run until their current measurement ends.
pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<()> {
    let source = source(args.model.file, &config);
    let budget = Duration::from_secs(args.seconds);
    let measured = tokio::task::spawn_blocking(move || benchmark::run(&source, &config, budget));
    let report = measured.await??;
    let mut out = io::stdout().lock();
    match args.model.format {
        ReportFormat::Table => write!(out, "{report}")?,
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(())
}
