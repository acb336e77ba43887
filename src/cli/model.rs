//! `affectd model`: shows, verifies and benchmarks a model.
//!
//! Input: an ONNX file, or the configured model, or the built-in model. Output: a table or JSON on stdout. `inspect` reads
//! the contract and does not need ONNX Runtime; `verify` loads the model like the daemon; `bench` measures it.

use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde_json::json;

use crate::config;
use crate::features::MfccOptions;
use crate::model::{Contract, Input, Model, ModelSource, OutOfDomain, TrainingLogits, WindowShape};

/// Arguments of `affectd model`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The subcommand.
    #[command(subcommand)]
    pub action: Action,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Show the contract: labels, front end, window, provenance
    Inspect(ModelArgs),
    /// Load the model like the daemon: compare the contract with the graph and run a warm-up batch
    Verify(ModelArgs),
    /// Measure windows per second by batch size and threads, and the cost of the front end, within 30 s
    Bench(super::bench::Args),
}

/// The model and the output format.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// An ONNX file [default: the configured model, else the built-in one]
    pub file: Option<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
}

/// The format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// A table.
    Table,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let config = context.loaded.config;
    match args.action {
        Action::Inspect(model) => inspect(&source(model.file, &config), model.format)?,
        Action::Verify(model) => {
            let source = source(model.file, &config);
            let engine = config::Engine { sessions: 1, ..config.engine };
            verify(source, model.format, engine).await?;
        }
        Action::Bench(args) => super::bench::run(args, config).await?,
    }
    Ok(())
}

/// Returns the given file, or the configured model.
pub(super) fn source(file: Option<PathBuf>, config: &config::Config) -> ModelSource {
    file.map_or_else(|| ModelSource::configured(config.default_model().path.as_deref()), ModelSource::File)
}

fn inspect(source: &ModelSource, format: ReportFormat) -> anyhow::Result<()> {
    let contract = source.contract()?;
    let mut out = io::stdout().lock();
    match format {
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&contract)?)?,
        ReportFormat::Table => write!(out, "{}", table(&describe(source, &contract)))?,
    }
    Ok(())
}

async fn verify(source: ModelSource, format: ReportFormat, engine: config::Engine) -> anyhow::Result<()> {
    let name = source.to_string();
    let model = tokio::task::spawn_blocking(move || Model::load(source, &engine)).await??;
    let mut out = io::stdout().lock();
    let library = model.library.display();
    match format {
        ReportFormat::Json => {
            let verdict = json!({
                "ok": true, "model": model.contract.full_name(), "file": name, "engine": model.engine,
                "library": library.to_string(), "device": model.device, "ood": model.contract.out_of_domain,
            });
            writeln!(out, "{verdict:#}")?;
        }
        ReportFormat::Table => {
            let mut rows = vec![
                ("model", model.contract.full_name()),
                ("file", name),
                ("graph", "matches the contract; a warm-up batch ran".to_owned()),
                ("engine", format!("{} ({library})", model.engine)),
                ("device", model.device),
            ];
            rows.extend(out_of_domain(&model.contract));
            write!(out, "{}", table(&rows))?;
        }
    }
    Ok(())
}

/// Returns the shape of the input of a model.
fn input_of(contract: &Contract) -> String {
    let (rows, layout) = (contract.rows(), contract.layout.name());
    match contract.input {
        Input::Waveform => format!("{rows} samples, {layout}"),
        Input::Mfcc | Input::LogMel => {
            format!("{rows} frames × {} coefficients, {layout}", contract.coefficients())
        }
    }
}

/// Returns the options of the frames of a model.
fn frame_of(mfcc: &MfccOptions) -> String {
    format!(
        "{} samples every {}, FFT {}, {} mel bands from {} to {} Hz, {} coefficients, deltas {}",
        mfcc.win_length,
        mfcc.hop_length,
        mfcc.n_fft,
        mfcc.n_mels,
        mfcc.f_min_hz,
        mfcc.f_max_hz,
        mfcc.n_mfcc,
        mfcc.deltas
    )
}

fn describe(source: &ModelSource, contract: &Contract) -> Vec<(&'static str, String)> {
    let seconds = |samples: usize| samples as f64 / f64::from(contract.sample_rate_hz);
    let WindowShape { length_samples, hop_samples } = contract.window;
    let provenance = &contract.provenance;
    let metrics: Vec<String> =
        provenance.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    let mut rows = vec![
        ("model", contract.full_name()),
        ("file", source.to_string()),
        ("labels", contract.labels.join(", ")),
        ("input", input_of(contract)),
        ("output", format!("{:?}, temperature {}", contract.output, contract.temperature).to_lowercase()),
        ("sample rate", format!("{} Hz", contract.sample_rate_hz)),
        ("window", format!("{} s every {} s", seconds(length_samples), seconds(hop_samples))),
    ];
    rows.extend(contract.mfcc.as_ref().map(|mfcc| ("frame", frame_of(mfcc))));
    rows.extend(out_of_domain(contract));
    if let Some(TrainingLogits { mean_logits, .. }) = &contract.adaptation {
        let logits: Vec<String> = mean_logits.iter().map(|logit| format!("{logit:.3}")).collect();
        rows.push(("adaptation", format!("towards the mean logits {}", logits.join(", "))));
    }
    let known = [
        ("data", provenance.datasets.join(", ")),
        ("protocol", provenance.protocol.clone()),
        ("measured", metrics.join(", ")),
        ("trained", provenance.trained_at.clone()),
    ];
    rows.extend(known.into_iter().filter(|(_, value)| !value.is_empty()));
    rows
}

/// Returns the row about the out-of-domain score, if the model has one.
fn out_of_domain(contract: &Contract) -> Option<(&'static str, String)> {
    let OutOfDomain { threshold } = contract.out_of_domain?;
    Some(("out of domain", format!("windows with an output \"ood\" above {threshold}")))
}

fn table(rows: &[(&str, String)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (key, value) in rows {
        table.add_row([*key, value]);
    }
    let lines: Vec<String> = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    lines.concat()
}
