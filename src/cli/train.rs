//! `affectd train`: labelled clips in, one ONNX file with its contract out.
//!
//! In: arguments. Out: the file; the validation and test figures on stdout, progress on stderr. Chooses by the
//! validation clips alone; the test clips are measured once, at the end.

mod interrupt;
mod learning;
mod outcome;
mod sizes;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use self::interrupt::stop_on_interrupt;
use self::learning::LearningArgs;
use self::outcome::{print, print_int8, print_scores};
use self::sizes::SizeArgs;
use super::UsageError;
use super::augmentation::AugmentationArgs;
use super::protocol::{ProtocolArgs, warn_of_shared_speakers};
use crate::config::Engine;
use crate::evaluation::datasets::DatasetSpec;
use crate::features::MfccOptions;
use crate::model::Input;
use crate::train::architecture::NetworkKind;
use crate::train::cache;
use crate::train::corpus::Recipe;
use crate::train::fit::RunControl;
use crate::train::int8;
use crate::train::join::{self, Ensemble};
use crate::train::report::{self, TrainingReport};
use crate::train::selection::Selection;
use crate::train::{Identity, Training};

/// Arguments of `affectd train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled clips: tess:DIR, crema-d:DIR or manifest:FILE.csv; repeatable
    #[arg(long, required = true, value_name = "NAME:PATH", value_parser = DatasetSpec::parse)]
    data: Vec<DatasetSpec>,
    /// The kind of network
    #[arg(long, value_enum, required_unless_present_any = ["join", "trained"])]
    architecture: Option<NetworkKind>,
    /// Train nothing: write --output from this model file, with --quantize
    #[arg(long, value_name = "FILE", requires = "quantize", conflicts_with_all = ["architecture", "join"])]
    trained: Option<PathBuf>,
    /// Train nothing: join model files with the same labels and front end into one; repeatable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["architecture", "checkpoint", "quantize", "report"])]
    join: Vec<PathBuf>,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The folder for figures, curves and a page with both [default: the output's name with -report behind it]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// The model's name, part of every event's id [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// The model's version, part of every event's id
    #[arg(long, default_value = "0.1.0")]
    version: String,
    /// What the contract calls the data [default: the names of the datasets]
    #[arg(long, value_name = "TEXT")]
    data_title: Option<String>,
    /// Keep the run's state here after each epoch, and go on from it where it is there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write a second file beside the model, in 8-bit integers
    #[arg(long, value_enum)]
    quantize: Option<Integers>,
    /// The folder that keeps decoded clips and features from run to run
    /// [default: affectd/features in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Keep no decoded clips and features
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
    /// Write over a model and a report that are there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    learning: LearningArgs,
    #[command(flatten)]
    sizes: SizeArgs,
    #[command(flatten)]
    augmentation: AugmentationArgs,
    /// Where all randomness comes from
    #[arg(long, default_value = "0")]
    seed: u64,
    /// What the model gets of a frame
    #[arg(long, value_enum, default_value = "mfcc")]
    input: InputKind,
    /// Orders of deltas behind each frame's MFCCs: 0, 1 or 2 [default: 0, or what --options says]
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(u8).range(0..=2))]
    deltas: Option<u8>,
    /// The front end as JSON: the contract's "mfcc" entry [default: 64 mel bands from 20 to 7400 Hz; all 64 MFCCs for cnn,
    /// 24 for dense]
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// Speakers and labels.
    #[command(flatten)]
    protocol: ProtocolArgs,
}

/// Integers that a model may be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Integers {
    /// 8 bits, static ranges from training windows
    Int8,
}

/// What the model gets of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum InputKind {
    /// Mel-frequency cepstral coefficients
    Mfcc,
    /// Logarithms of mel bands
    LogMel,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    check_output(&args.output, args.force)?;
    if args.trained.iter().chain(&args.join).any(|read| *read == args.output) {
        return Err(UsageError(format!(
            "--output {}: it is read, and needs another name",
            args.output.display()
        ))
        .into());
    }
    let engine = context.loaded.config.engine;
    let control = RunControl { checkpoint: args.checkpoint.clone(), ..RunControl::default() };
    if args.architecture.is_some() {
        stop_on_interrupt(control.clone()).context("catch Ctrl-C")?;
    }
    tokio::task::spawn_blocking(move || match (args.architecture, &args.trained) {
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
    let int8 = args.quantize.map(|Integers::Int8| int8::path_beside(&output));
    int8.iter().try_for_each(|path| check_output(path, args.force))?;
    let training = args.training(kind, control)?;
    let trained = training.run()?;
    trained.write(&output, &identity)?;
    TrainingReport::of(&trained, &identity, std::env::args().collect()).write(&report)?;
    // A run that is over starts afresh next time; one that was stopped can go on.
    let over = !training.control.stopped.load(Ordering::Relaxed);
    if let Some(checkpoint) = training.control.checkpoint.as_ref().filter(|_| over) {
        let _ = std::fs::remove_file(checkpoint);
    }
    print(&trained, &output);
    println!("report     {}", report.join("index.html").display());
    int8.map_or(Ok(()), |int8| quantize(&output, &int8, &args, engine))
}

fn quantize(float: &Path, path: &Path, args: &Args, engine: &Engine) -> anyhow::Result<()> {
    print_int8(&int8::write(float, path, (&args.selection()?, args.cache()), engine)?);
    Ok(())
}

fn join(args: &Args, engine: &Engine) -> anyhow::Result<()> {
    let (identity, selection) = (args.identity()?, args.selection()?);
    let parts = Ensemble::read(&args.join)?;
    let scores = join::write(&parts, (&selection, args.cache()), (&args.output, &identity), engine)?;
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

    fn training(&self, kind: NetworkKind, control: RunControl) -> anyhow::Result<Training> {
        let mut recipe = Recipe::of(kind);
        recipe.cache = self.cache();
        recipe.input = if self.input == InputKind::Mfcc { Input::Mfcc } else { Input::LogMel };
        if let Some(path) = &self.options {
            recipe.mfcc = read_options(path)?;
        }
        recipe.mfcc.deltas = self.deltas.map_or(recipe.mfcc.deltas, usize::from);
        recipe.check().map_err(|error| UsageError(error.to_string()))?;
        Ok(Training {
            selection: self.selection()?,
            recipe,
            kind,
            sizes: self.sizes.sizes(),
            waveform: self.augmentation.waveform(kind),
            strength: self.augmentation.features(kind),
            fit: self.learning.options(kind, self.seed),
            control,
        })
    }

    fn selection(&self) -> anyhow::Result<Selection> {
        let mut data = self.data.clone();
        self.protocol.settle(&mut data);
        let protocol = self.protocol.protocol(self.seed)?;
        warn_of_shared_speakers(&protocol);
        Ok(Selection { data, label_map: self.protocol.labels()?, protocol })
    }

    fn cache(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { self.cache.clone().or_else(cache::default_folder) }
    }
}

/// Hours of training must not end at a folder that is not there, or at a file that has to stay.
fn check_output(output: &Path, force: bool) -> anyhow::Result<()> {
    if output.is_file() && !force {
        return Err(UsageError(format!(
            "--output {}: it is there; --force writes over it",
            output.display()
        ))
        .into());
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
