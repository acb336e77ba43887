//! `affectd evaluate`: how good a model is on labelled data, here or on a running daemon.
//!
//! In: a dataset, a split, a model or a server. Out: the report on stdout, what was skipped and why on stderr, and
//! each clip's prediction as CSV where asked. Shows progress on a terminal only.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::model::Format;
use super::protocol::ProtocolArgs;
use crate::config::Config;
use crate::evaluation::datasets::{Clip, DatasetSpec, Pool, Split};
use crate::evaluation::{Perturbation, Report, client, local};
use crate::model::Model;
use crate::proto::ClipResult;

/// Arguments of `affectd evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled data: tess:DIR, crema-d:DIR or manifest:FILE.csv
    #[arg(long, value_name = "NAME:PATH")]
    pub data: DatasetSpec,
    /// Which part of it: train, validation, test or all
    #[arg(long, default_value = "all")]
    pub split: Split,
    /// The seed that the model was trained with, where its protocol draws from it
    #[arg(long, default_value = "0")]
    pub seed: u64,
    /// Speakers and labels.
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    /// Evaluate the model of a running daemon, over gRPC
    #[arg(long, value_name = "URL", conflicts_with = "model")]
    pub server: Option<String>,
    /// An ONNX file [default: the configured model, else the built-in one]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Pass every clip over a telephone line first: 8 kHz, µ-law
    #[arg(long)]
    pub telephone: bool,
    /// Make every clip so much louder or softer first, at 16 bits; what passes full scale is clipped
    #[arg(long, value_name = "DB", allow_negative_numbers = true, value_parser = gain)]
    pub gain_db: Option<f64>,
    /// How the report is written
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Write id, truth, prediction and the probability of each label of every clip
    #[arg(long, value_name = "FILE.csv")]
    pub predictions: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(mut args: Args, context: super::Context) -> anyhow::Result<()> {
    args.protocol.settle(std::slice::from_mut(&mut args.data));
    let clips = clips(&args)?;
    let mut record = Record::new(clips.len() as u64, args.predictions)?;
    let line = Arc::new(Perturbation::new(args.gain_db, args.telephone));
    let measured = (clips, line.clone());
    let report = evaluate((args.server, args.model), context.loaded.config, measured, &mut record).await?;
    record.finish()?;
    if line.clipped() > 0 {
        eprintln!("{} clips were clipped at full scale", line.clipped());
    }
    let mut out = io::stdout().lock();
    match args.format {
        Format::Table => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    if report.clips == 0 {
        anyhow::bail!("score one clip: all {} were skipped", report.skipped);
    }
    Ok(())
}

fn clips(args: &Args) -> anyhow::Result<Vec<Clip>> {
    let protocol = args.protocol.protocol(args.seed)?;
    let pool = Pool::read(std::slice::from_ref(&args.data), &args.protocol.labels()?)?.strict()?;
    for (label, count) in &pool.left_out {
        eprintln!("left out {count} clips of {label}, as asked");
    }
    match args.split {
        Split::All => Ok(pool.all()),
        split => Ok(pool.divide(&protocol)?.into_part(split)),
    }
}

fn gain(text: &str) -> Result<f64, String> {
    let gain = text.parse().ok().filter(|it: &f64| (-120.0..=120.0).contains(it));
    gain.ok_or_else(|| "expected decibels from -120 to 120".to_owned())
}

async fn evaluate(
    (server, model): (Option<String>, Option<PathBuf>),
    config: Config,
    (clips, line): (Vec<Clip>, Arc<Perturbation>),
    record: &mut Record,
) -> anyhow::Result<Report> {
    if let Some(url) = server {
        return Ok(client::evaluate(&url, (clips, line), |result| record.take(result)).await?);
    }
    let source = super::model::source(model, &config);
    let engine = config.engine.clone();
    let model = tokio::task::spawn_blocking(move || Model::load(source, &engine)).await??;
    Ok(local::evaluate(model, &config, (clips, &line), |result| record.take(result)).await?)
}

/// What is kept of each clip besides the report.
struct Record {
    progress: ProgressBar,
    predictions: Option<Predictions>,
    /// By reason, without what differs from clip to clip: how many, and the first one.
    skipped: BTreeMap<String, (u64, String)>,
}

impl Record {
    fn new(clips: u64, predictions: Option<PathBuf>) -> anyhow::Result<Self> {
        // Drawn on stderr, and only where that is a terminal.
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} clips, {eta} left")?;
        let progress = ProgressBar::new(clips).with_style(style);
        let predictions = predictions.map(Predictions::create).transpose()?;
        Ok(Self { progress, predictions, skipped: BTreeMap::new() })
    }

    fn take(&mut self, result: &ClipResult) {
        self.progress.inc(1);
        if result.skipped.is_empty() {
            if let Some(predictions) = &mut self.predictions {
                predictions.write(result);
            }
            return;
        }
        let (kind, detail) = result.skipped.split_once(": ").unwrap_or((&result.skipped, ""));
        let example = if detail.is_empty() { result.id.clone() } else { format!("{}: {detail}", result.id) };
        self.skipped.entry(kind.to_owned()).or_insert((0, example)).0 += 1;
    }

    fn finish(self) -> anyhow::Result<()> {
        self.progress.finish_and_clear();
        for (reason, (count, example)) in self.skipped {
            eprintln!("skipped {count} clips: {reason} (the first one: {example})");
        }
        self.predictions.map_or(Ok(()), Predictions::finish)
    }
}

/// The CSV of predictions.
struct Predictions {
    path: PathBuf,
    rows: csv::Writer<File>,
    has_header: bool,
    /// The first failure; shown at the end.
    failed: Option<csv::Error>,
}

impl Predictions {
    fn create(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&path).with_context(|| format!("write {}", path.display()))?;
        Ok(Self { path, rows: csv::Writer::from_writer(file), has_header: false, failed: None })
    }

    fn write(&mut self, result: &ClipResult) {
        if !self.has_header {
            let labels = result.scores.iter().map(|score| score.emotion.as_str());
            let written = self.rows.write_record(["id", "truth", "prediction"].into_iter().chain(labels));
            self.failed = self.failed.take().or(written.err());
            self.has_header = true;
        }
        let names = [result.id.clone(), result.truth.clone(), result.prediction.clone()];
        let scores = result.scores.iter().map(|score| format!("{:.6}", score.probability));
        let written = self.rows.write_record(names.into_iter().chain(scores));
        self.failed = self.failed.take().or(written.err());
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let written = self.failed.map_or(Ok(()), Err).and_then(|()| Ok(self.rows.flush()?));
        written.with_context(|| format!("write {}", self.path.display()))
    }
}
