//! `affectd train`: trains a model on labelled clips and writes one ONNX file with its contract.
//!
//! Input: arguments. Output: the ONNX file and a report folder; the validation and test scores on stdout, progress on
//! stderr. Invariants: every choice is made on the validation clips; the test clips are scored once, at the end.

mod encoder;
mod interrupt;
mod learning;
mod outcome;
mod sizes;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use self::encoder::EncoderArgs;
use self::interrupt::stop_on_interrupt;
use self::learning::LearningArgs;
use self::outcome::{print, print_int8, print_scores};
use self::sizes::SizeArgs;
use super::UsageError;
use super::augmentation::AugmentationArgs;
use super::protocol::{ProtocolArgs, warn_of_shared_speakers};
use crate::config::Engine;
use crate::datasets::{DatasetError, DatasetSpec};
use crate::features::MfccOptions;
use crate::model::Input;
use crate::train::architecture::NetworkKind;
use crate::train::cache;
use crate::train::corpus::Recipe;
use crate::train::encoder::Encoder;
use crate::train::fit::RunControl;
use crate::train::int8;
use crate::train::join::{self, Ensemble};
use crate::train::report::{self, TrainingReport};
use crate::train::selection::Selection;
use crate::train::{Identity, Training};

/// Arguments of `affectd train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled clips: tess:, crema-d:, emo-db:, ravdess: or savee:DIR, or manifest:FILE.csv; repeatable
    #[arg(long, required = true, value_name = "NAME:PATH", value_parser = DatasetSpec::parse)]
    data: Vec<DatasetSpec>,
    /// The architecture of the network
    #[arg(long, value_enum, required_unless_present_any = ["join", "trained", "encoder"])]
    architecture: Option<NetworkKind>,
    /// Do not train: quantize this model file to --output, with --quantize
    #[arg(long, value_name = "FILE", requires = "quantize", conflicts_with_all = ["architecture", "join"])]
    trained: Option<PathBuf>,
    /// Do not train: join model files with the same labels and front end into an ensemble; repeatable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["architecture", "checkpoint", "quantize", "report"])]
    join: Vec<PathBuf>,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The folder of the training report [default: the output's name, followed by -report]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// The model's name, which is part of every event id [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// The model's version, which is part of every event id
    #[arg(long, default_value = "0.1.0")]
    version: String,
    /// The name of the data in the contract [default: the names of the datasets]
    #[arg(long, value_name = "TEXT")]
    data_title: Option<String>,
    /// Save the state of the run to this file after each epoch, and resume from it where it exists
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Also write a quantized file beside the model
    #[arg(long, value_enum)]
    quantize: Option<Precision>,
    /// The cache folder of decoded clips and features
    /// [default: affectd/features in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Do not cache decoded clips and features
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
    /// Overwrite an existing model and report
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    encoder: EncoderArgs,
    #[command(flatten)]
    learning: LearningArgs,
    #[command(flatten)]
    sizes: SizeArgs,
    #[command(flatten)]
    augmentation: AugmentationArgs,
    /// The seed of all random numbers
    #[arg(long, default_value = "0")]
    seed: u64,
    /// The features that are the model's input [default: mfcc]
    #[arg(long, value_enum)]
    input: Option<InputKind>,
    /// Number of delta orders appended to each frame's MFCCs: 0, 1 or 2 [default: 0, or the value of --options]
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(u8).range(0..=2))]
    deltas: Option<u8>,
    /// The front end as JSON: the contract's "mfcc" entry [default: 64 mel bands from 20 to 7400 Hz; all 64 MFCCs for cnn,
    /// 24 for dense]
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// The split protocol and the labels.
    #[command(flatten)]
    protocol: ProtocolArgs,
}

/// The precision of a quantized model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Precision {
    /// 8-bit integers, with static ranges from training windows
    Int8,
}

/// The features that are the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum InputKind {
    /// Mel-frequency cepstral coefficients
    Mfcc,
    /// Logarithms of mel band energies
    LogMel,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    check_output(&args.output, args.force)?;
    if args.trained.iter().chain(&args.join).any(|read| *read == args.output) {
        return Err(UsageError(format!(
            "--output {}: is also an input file; choose another name",
            args.output.display()
        ))
        .into());
    }
    let engine = context.loaded.config.engine;
    let control = RunControl { checkpoint: args.checkpoint.clone(), ..RunControl::default() };
    let kind = args.kind();
    if kind.is_some() {
        stop_on_interrupt(control.clone()).context("install the Ctrl-C handler")?;
    }
    tokio::task::spawn_blocking(move || match (kind, &args.trained) {
        (Some(kind), _) => train(kind, args, control, &engine),
        (None, Some(trained)) => quantize(trained, &args.output, &args, &engine),
        (None, None) => join(&args, &engine),
    })
    .await?
}

fn train(kind: NetworkKind, args: Args, control: RunControl, engine: &Engine) -> anyhow::Result<()> {
    let (output, identity) = (args.output.clone(), args.identity()?);
    let report = args.report_folder();
    report::check_folder(&report, args.force).map_err(|error| UsageError(format!("--report: {error}")))?;
    let int8 = args.quantize.map(|Precision::Int8| int8::path_beside(&output));
    int8.iter().try_for_each(|path| check_output(path, args.force))?;
    let encoder = args.open_encoder(engine)?;
    let training = args.training(kind, encoder, control)?;
    let trained = training.run().map_err(usage_error)?;
    trained.write(&output, &identity)?;
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    TrainingReport::of(&trained, &identity, arguments.collect()).write(&report)?;
    // A finished run removes its checkpoint, so that the next run starts from the beginning; a stopped run keeps it and
    // can be resumed.
    let over = !training.control.stopped.load(Ordering::Relaxed);
    if let Some(checkpoint) = training.control.checkpoint.as_ref().filter(|_| over) {
        let _ = std::fs::remove_file(checkpoint);
    }
    print(&trained, &output);
    println!("report     {}", report.join("index.html").display());
    int8.map_or(Ok(()), |int8| quantize(&output, &int8, &args, engine))
}

fn quantize(float: &Path, path: &Path, args: &Args, engine: &Engine) -> anyhow::Result<()> {
    print_int8(&int8::write(float, path, &args.selection()?, args.cache(), engine)?);
    Ok(())
}

fn join(args: &Args, engine: &Engine) -> anyhow::Result<()> {
    let (identity, selection) = (args.identity()?, args.selection()?);
    let ensemble = Ensemble::read(&args.join)?;
    let scores = join::write(&ensemble, &selection, args.cache(), &args.output, &identity, engine)?;
    println!("wrote {}: {} models in one", args.output.display(), args.join.len());
    print_scores(&scores.validation, &scores.test);
    Ok(())
}

impl Args {
    fn identity(&self) -> anyhow::Result<Identity> {
        let stem = self.output.file_stem().map(|it| it.to_string_lossy().into_owned());
        let unnamed = || UsageError(format!("--output {} names no file", self.output.display()));
        let name = self.name.clone().or(stem).ok_or_else(unnamed)?;
        Ok(Identity { name, version: self.version.clone(), data: self.data_title.clone() })
    }

    fn report_folder(&self) -> PathBuf {
        let stem = self.output.file_stem().map(|it| it.to_string_lossy()).unwrap_or_default();
        self.report.clone().unwrap_or_else(|| self.output.with_file_name(format!("{stem}-report")))
    }

    /// Returns the architecture of a training; `None` where files are joined or quantized.
    fn kind(&self) -> Option<NetworkKind> {
        self.encoder.encoder.as_ref().map(|_| NetworkKind::Encoder).or(self.architecture)
    }

    fn training(
        &self,
        kind: NetworkKind,
        encoder: Option<Encoder>,
        control: RunControl,
    ) -> anyhow::Result<Training> {
        let recipe = match &encoder {
            Some(encoder) => Recipe::of_encoder(&encoder.contract, self.cache())?,
            None => self.recipe(kind)?,
        };
        Ok(Training {
            selection: self.selection()?,
            recipe,
            kind,
            encoder,
            sizes: self.sizes.sizes(kind)?,
            waveform: self.augmentation.waveform(kind),
            strength: self.augmentation.features(kind),
            fit: self.learning.options(kind, self.seed),
            control,
        })
    }

    fn recipe(&self, kind: NetworkKind) -> anyhow::Result<Recipe> {
        let mut recipe = Recipe::of(kind);
        recipe.cache = self.cache();
        recipe.input = if self.input == Some(InputKind::LogMel) { Input::LogMel } else { Input::Mfcc };
        if let Some(path) = &self.options {
            recipe.mfcc = read_options(path)?;
        }
        recipe.mfcc.deltas = self.deltas.map_or(recipe.mfcc.deltas, usize::from);
        recipe.check().map_err(|error| UsageError(error.to_string()))?;
        Ok(recipe)
    }

    fn selection(&self) -> anyhow::Result<Selection> {
        let mut data = self.data.clone();
        self.protocol.set_test_speaker(&mut data);
        let protocol = self.protocol.protocol(self.seed)?;
        warn_of_shared_speakers(&protocol);
        Ok(Selection { data, label_map: self.protocol.labels()?, protocol })
    }

    fn cache(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { self.cache.clone().or_else(cache::default_folder) }
    }
}

/// Turns the error about datasets that do not belong together into a usage error.
fn usage_error(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(error @ DatasetError::DisjointLabels { .. }) => UsageError(error.to_string()).into(),
        _ => error,
    }
}

/// Checks the output path before training, so that a long run does not fail when it writes its result.
fn check_output(output: &Path, force: bool) -> anyhow::Result<()> {
    if output.is_file() && !force {
        return Err(
            UsageError(format!("--output {}: file exists; --force overwrites it", output.display())).into()
        );
    }
    let folder = output.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() && !output.is_dir() {
        return Ok(());
    }
    Err(UsageError(format!("--output {}: no such folder, or a folder itself", output.display())).into())
}

fn read_options(path: &Path) -> anyhow::Result<MfccOptions> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--options {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("--options {}", path.display()))
}
