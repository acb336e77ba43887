//! `affectd evaluate`: metrics of a model on labelled data, in this process or on a running daemon; with `--cross` of several models on several corpora.
//!
//! Input: a dataset, a split, and a model or a server. Output: the report on stdout, skipped clips with their reasons on
//! stderr, and optionally the predictions as CSV. Invariants: progress is drawn only on a terminal.

mod corpus;
mod cross;
mod recorder;
mod streams;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use self::recorder::ClipRecorder;
use self::streams::Streams;
use super::UsageError;
use super::connection::{ConnectionArgs, grpc_server};
use super::model::ReportFormat;
use super::protocol::ProtocolArgs;
use crate::client;
use crate::config::Config;
use crate::datasets::{Clip, DatasetSpec, Split};
use crate::evaluation::{Answers, EvaluationPlan, Perturbation, Report, StreamKind};
use crate::model::{Contract, Model};
use crate::offline;
use crate::proto::ClipResult;

/// Arguments of `affectd evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled data: tess:, crema-d:, emo-db:, ravdess: or savee:DIR, or manifest:FILE.csv; repeatable with --cross
    #[arg(long, required = true, value_name = "NAME:PATH", value_parser = DatasetSpec::parse)]
    pub data: Vec<DatasetSpec>,
    /// The split to evaluate: train, validation, test or all; with --cross one for all corpora, or one for each
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub split: Vec<Split>,
    /// The seed of the split protocol, as used for training
    #[arg(long, default_value = "0")]
    pub seed: u64,
    /// The split protocol and the labels.
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    /// Exclude the clips of all other labels, but accept every answer; the names are those after --map-label
    #[arg(long, value_name = "LABEL,LABEL,...", value_delimiter = ',', conflicts_with = "only_labels")]
    #[arg(help_heading = "Splits and labels")]
    pub only_clips: Vec<String>,
    /// Evaluate each --model on each --data, over the labels that both have, and print the matrix
    #[arg(long, conflicts_with_all = ["server", "streams", "predictions", "only_clips"])]
    pub cross: bool,
    /// Evaluate the model of a running daemon: grpc://host:port or grpcs://host:port
    #[arg(long, value_name = "URL", conflicts_with = "model")]
    pub server: Option<String>,
    /// TLS and authentication.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// An ONNX file [default: the configured model, else the built-in one]; repeatable with --cross
    #[arg(long, value_name = "FILE")]
    pub model: Vec<PathBuf>,
    /// Simulate a telephone line first: 8 kHz, µ-law
    #[arg(long)]
    pub telephone: bool,
    /// Apply this gain to every clip first, at 16 bits; samples beyond full scale are clipped
    #[arg(long, value_name = "DB", allow_negative_numbers = true, value_parser = gain)]
    pub gain_db: Option<f64>,
    /// Chain the clips of each speaker to streams and report what publish.adaptation makes of them: mixed (all clips in
    /// random order), neutral (the neutral clips first) or single (a stream for each emotion)
    #[arg(long, value_name = "KIND")]
    pub streams: Option<StreamKind>,
    /// The format of the report
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
    /// Write the id, the true label, the prediction and all probabilities of every clip to this file
    #[arg(long, value_name = "FILE.csv")]
    pub predictions: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(mut args: Args, context: super::Context) -> anyhow::Result<()> {
    args.protocol.set_test_speaker(&mut args.data);
    let config = context.loaded.config;
    if args.cross {
        return cross::run(args, config).await;
    }
    for (flag, count) in
        [("--data", args.data.len()), ("--model", args.model.len()), ("--split", args.split.len())]
    {
        if count > 1 {
            return Err(
                UsageError(format!("{flag} is given {count} times: more than one needs --cross")).into()
            );
        }
    }
    one(args, config).await
}

/// Evaluates one model on one corpus.
async fn one(args: Args, config: Config) -> anyhow::Result<()> {
    let (clips, args) = tokio::task::spawn_blocking(move || anyhow::Ok((clips(&args)?, args))).await??;
    let mut record = ClipRecorder::new(clips.len() as u64, args.predictions)?;
    let mut streams = args.streams.map(|kind| Streams::new(kind, &clips, &config));
    let perturbation = Arc::new(Perturbation::new(args.gain_db, args.telephone));
    let answers = Answers::only(&args.protocol.only_labels);
    let plan = EvaluationPlan { clips, perturbation: Arc::clone(&perturbation), answers: answers.clone() };
    let mut each = |result: &ClipResult| {
        record.add(result);
        streams.iter_mut().for_each(|streams| streams.add(result));
    };
    let (report, contract) = match args.server {
        Some(url) => {
            let server = grpc_server(&url)?;
            let channel = client::connect(&server, &args.connection.credentials(&server)?).await?;
            (client::evaluation::evaluate(&server, channel, plan, &mut each).await?, None)
        }
        None => {
            let model = load_model(args.model.into_iter().next(), &config).await?;
            let contract = Some(model.contract.clone());
            (offline::evaluation::evaluate(model, &config, plan, &mut each).await?, contract)
        }
    };
    record.finish()?;
    warn_of_clipped(&perturbation);
    if report.clips == 0 {
        anyhow::bail!("no clip could be scored: all {} were skipped", report.skipped);
    }
    let mean_logits = mean_logits(contract.as_deref(), &answers);
    let variance = contract.as_deref().and_then(|it| it.adaptation.as_ref()?.variance);
    let adapted = streams.map(|streams| streams.report(&report, (&mean_logits, variance), args.seed));
    print(args.format, &report, adapted)
}

/// Returns the mean logits of the model's training data under the accepted answers; none where they are not known, as for the model of a server.
fn mean_logits(contract: Option<&Contract>, answers: &Answers) -> Vec<f32> {
    let trained = contract.and_then(|contract| Some((contract, contract.adaptation.as_ref()?)));
    trained
        .map_or_else(Vec::new, |(contract, it)| answers.restricted_logits(&contract.labels, &it.mean_logits))
}

/// Prints the report, and that of the adapted clips with its title.
fn print(format: ReportFormat, report: &Report, adapted: Option<(String, Report)>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match (format, adapted) {
        (ReportFormat::Table, None) => write!(out, "{report}")?,
        (ReportFormat::Table, Some((title, adapted))) => write!(out, "{report}\n\n{title}\n\n{adapted}")?,
        (ReportFormat::Json, None) => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
        (ReportFormat::Json, Some((_, adapted))) => {
            let both = serde_json::json!({"clips": report, "streams": adapted});
            writeln!(out, "{}", serde_json::to_string_pretty(&both)?)?;
        }
    }
    Ok(())
}

/// Returns the usable clips of the split.
fn clips(args: &Args) -> anyhow::Result<Vec<Clip>> {
    let labels = match args.only_clips.as_slice() {
        [] => args.protocol.labels()?,
        only => args.protocol.labels_of_clips(only)?,
    };
    let protocol = args.protocol.protocol(args.seed)?;
    let pool = crate::datasets::Pool::read(&args.data, &labels)?;
    let split = args.split.first().copied().unwrap_or_default();
    corpus::usable(pool, split, &protocol)
}

/// Prints how many clips a gain has clipped.
fn warn_of_clipped(perturbation: &Perturbation) {
    if perturbation.clipped() > 0 {
        eprintln!("{} clips were clipped at full scale", perturbation.clipped());
    }
}

fn gain(text: &str) -> Result<f64, String> {
    let gain = text.parse().ok().filter(|it: &f64| (-120.0..=120.0).contains(it));
    gain.ok_or_else(|| "expected decibels from -120 to 120".to_owned())
}

/// Loads the model of `--model`, or the configured one, on a blocking thread.
async fn load_model(file: Option<PathBuf>, config: &Config) -> anyhow::Result<Model> {
    let (source, engine) = (super::model::source(file, config), config.engine.clone());
    Ok(tokio::task::spawn_blocking(move || Model::load(source, &engine)).await??)
}
