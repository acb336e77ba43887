//! `affectd evaluate`: metrics of a model on labelled data, in this process or on a running daemon.
//!
//! Input: a dataset, a split, and a model or a server. Output: the report on stdout, skipped clips with their reasons on
//! stderr, and optionally the predictions as CSV. Invariants: progress is drawn only on a terminal.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::connection::{ConnectionArgs, grpc_server};
use super::model::ReportFormat;
use super::protocol::ProtocolArgs;
use crate::client;
use crate::config::Config;
use crate::datasets::audit::{self, Audit, ClipProperties, FrameLength};
use crate::datasets::{Clip, DatasetSpec, DatasetSplits, Pool, Split};
use crate::evaluation::{
    Answers, EvaluationPlan, Metrics, NamedClip, Perturbation, Report, ScoredClip, StreamKind, adapt_streams,
};
use crate::model::Model;
use crate::offline;
use crate::proto::ClipResult;
use crate::publish::{Adaptation, TrainedLabels};

/// Arguments of `affectd evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled data: tess:, crema-d:, emo-db:, ravdess: or savee:DIR, or manifest:FILE.csv
    #[arg(long, value_name = "NAME:PATH")]
    pub data: DatasetSpec,
    /// The split to evaluate: train, validation, test or all
    #[arg(long, default_value = "all")]
    pub split: Split,
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
    /// Evaluate the model of a running daemon: grpc://host:port or grpcs://host:port
    #[arg(long, value_name = "URL", conflicts_with = "model")]
    pub server: Option<String>,
    /// TLS and authentication.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// An ONNX file [default: the configured model, else the built-in one]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
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

/// The evaluator itself skips clips that are too short for its model, which may be on a server, and counts them.
const ANY_LENGTH: FrameLength = FrameLength { length: 1, sample_rate_hz: 16_000 };

/// Runs the command.
pub async fn run(mut args: Args, context: super::Context) -> anyhow::Result<()> {
    args.protocol.set_test_speaker(std::slice::from_mut(&mut args.data));
    let config = context.loaded.config;
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
            let model = load_model(args.model, &config).await?;
            let contract = Some(model.contract.clone());
            (offline::evaluation::evaluate(model, &config, plan, &mut each).await?, contract)
        }
    };
    record.finish()?;
    if perturbation.clipped() > 0 {
        eprintln!("{} clips were clipped at full scale", perturbation.clipped());
    }
    if report.clips == 0 {
        anyhow::bail!("no clip could be scored: all {} were skipped", report.skipped);
    }
    let trained = contract.as_ref().and_then(|contract| contract.adaptation.as_ref());
    let mean_logits =
        trained.map_or_else(Vec::new, |it| answers.restricted_logits(&report.labels, &it.mean_logits));
    let adapted = streams.map(|streams| {
        streams.report(&report, (&mean_logits, trained.and_then(|it| it.variance)), args.seed)
    });
    let mut out = io::stdout().lock();
    match (args.format, adapted) {
        (ReportFormat::Table, None) => write!(out, "{report}")?,
        (ReportFormat::Table, Some((title, adapted))) => write!(out, "{report}\n\n{title}\n\n{adapted}")?,
        (ReportFormat::Json, None) => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        (ReportFormat::Json, Some((_, adapted))) => {
            let both = serde_json::json!({"clips": report, "streams": adapted});
            writeln!(out, "{}", serde_json::to_string_pretty(&both)?)?;
        }
    }
    Ok(())
}

/// The clips of an evaluation that are chained to streams.
struct Streams {
    kind: StreamKind,
    adaptation: Adaptation,
    speakers: HashMap<String, Option<String>>,
    /// With the name of the true label.
    clips: Vec<(NamedClip, String)>,
}

impl Streams {
    fn new(kind: StreamKind, clips: &[Clip], config: &Config) -> Self {
        let speakers = clips.iter().map(|clip| (clip.id.clone(), clip.speaker.clone())).collect();
        let adaptation = Adaptation { windows: config.publish.adaptation_windows };
        Self { kind, adaptation, speakers, clips: Vec::new() }
    }

    fn add(&mut self, result: &ClipResult) {
        if result.skipped.is_empty() {
            let speaker = self.speakers.get(&result.id).cloned().flatten();
            let probabilities = result.scores.iter().map(|score| score.probability).collect();
            let clip = ScoredClip { truth: 0, probabilities, speaker };
            self.clips.push((NamedClip { id: result.id.clone(), clip }, result.truth.clone()));
        }
    }

    /// Returns a title and the report of the adapted clips, which `raw` is the report of without adaptation. `mean_logits` and `variance` are
    /// those of the model's training data, where they are known.
    fn report(
        self,
        raw: &Report,
        (mean_logits, variance): (&[f32], Option<f32>),
        seed: u64,
    ) -> (String, Report) {
        let truth = |label: &str| raw.labels.iter().position(|known| known == label);
        let clips = self.clips.into_iter().filter_map(|(mut named, label)| {
            named.clip.truth = truth(&label)?;
            Some(named)
        });
        let clips: Vec<NamedClip> = clips.collect();
        let labels = TrainedLabels { names: &raw.labels.clone().into(), mean_logits, variance };
        let (adapted, streams) = adapt_streams(&clips, labels, (self.kind, seed), self.adaptation);
        let kind = match self.kind {
            StreamKind::Mixed => "of all emotions in random order",
            StreamKind::Neutral => "that begin with the neutral clips",
            StreamKind::Single => "of one emotion each",
        };
        let windows = self.adaptation.windows;
        let title = format!("adapted, {streams} streams {kind} (publish.adaptation_windows = {windows}):");
        let metrics = Metrics::of(&raw.labels, &adapted);
        (title, Report::new(raw.model.clone(), raw.labels.clone(), metrics, raw.skipped, raw.seconds))
    }
}

/// Returns the usable clips of the split, and prints to stderr which ones are left out. They are those that training
/// leaves out, so the clips of the other splits are decoded too: a clip is not usable where its sound occurs anywhere under
/// another label.
fn clips(args: &Args) -> anyhow::Result<Vec<Clip>> {
    let protocol = args.protocol.protocol(args.seed)?;
    let labels = match args.only_clips.as_slice() {
        [] => args.protocol.labels()?,
        only => args.protocol.labels_of_clips(only)?,
    };
    let pool = Pool::read(std::slice::from_ref(&args.data), &labels)?;
    let found = Audit::of_pool(&pool);
    let splits = match args.split {
        Split::All => DatasetSplits { train: pool.all(), ..DatasetSplits::default() },
        _ => pool.divide(&protocol)?,
    };
    let clips = splits.named().iter().map(|(_, clips)| clips.len()).sum::<usize>();
    let progress = progress(clips as u64)?;
    let (splits, audit) = audit::usable_clips(splits, ANY_LENGTH, found, |path| {
        let properties = ClipProperties::file(path);
        progress.inc(1);
        properties
    });
    progress.finish_and_clear();
    eprint!("{audit}");
    let clips = splits.into_split(args.split);
    anyhow::ensure!(!clips.is_empty(), "no clip can be scored: all {} are left out", audit.clips);
    Ok(clips)
}

/// Creates a progress bar on stderr. indicatif draws only where stderr is a terminal.
fn progress(clips: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} clips, {eta} left")?;
    Ok(ProgressBar::new(clips).with_style(style))
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

/// Collects the progress, the predictions and the skipped clips of an evaluation.
struct ClipRecorder {
    progress: ProgressBar,
    predictions: Option<Predictions>,
    /// The number of skipped clips by kind of reason, with the first clip and its details.
    skipped: BTreeMap<String, (u64, String)>,
}

impl ClipRecorder {
    fn new(clips: u64, predictions: Option<PathBuf>) -> anyhow::Result<Self> {
        let progress = progress(clips)?;
        let predictions = predictions.map(Predictions::create).transpose()?;
        Ok(Self { progress, predictions, skipped: BTreeMap::new() })
    }

    fn add(&mut self, result: &ClipResult) {
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
            eprintln!("skipped {count} clips: {reason} (first: {example})");
        }
        self.predictions.map_or(Ok(()), Predictions::finish)
    }
}

/// The CSV file of predictions.
struct Predictions {
    path: PathBuf,
    rows: csv::Writer<File>,
    has_header: bool,
    /// The first write error, which is returned at the end.
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
