//! `affectd train`: labelled clips in, one ONNX file with its contract out.
//!
//! In: arguments. Out: the file; the validation and test figures on stdout, progress on stderr. Chooses by the
//! validation clips alone; the test clips are measured once, at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use super::UsageError;
use crate::config::Engine;
use crate::evaluation::datasets::{DatasetName, DatasetSpec, TessProtocol};
use crate::features::MfccOptions;
use crate::model::Input;
use crate::train::architecture::Kind;
use crate::train::augment::Strength;
use crate::train::corpus::Recipe;
use crate::train::fit::{FitOptions, Keeping};
use crate::train::int8::{self, Int8};
use crate::train::join::{self, Parts};
use crate::train::optimizer::{Optimizer, Schedule};
use crate::train::score::Score;
use crate::train::waveform::WaveformStrength;
use crate::train::{Identity, Trained, Training};

/// Arguments of `affectd train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled clips: tess:DIR, crema-d:DIR or manifest:FILE.csv; repeatable
    #[arg(long, required = true, value_name = "NAME:PATH", value_parser = DatasetSpec::parse)]
    data: Vec<DatasetSpec>,
    /// The kind of network
    #[arg(long, value_enum, required_unless_present = "join", default_value_if("join", clap::builder::ArgPredicate::IsPresent, "cnn"))]
    architecture: Kind,
    /// Train nothing: join model files with the same labels and front end into one; repeatable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["architecture", "checkpoint", "quantize"])]
    join: Vec<PathBuf>,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The model's name, part of every event's id [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// The model's version, part of every event's id
    #[arg(long, default_value = "0.1.0")]
    version: String,
    /// What the contract calls the data [default: the names of the datasets]
    #[arg(long, value_name = "TEXT")]
    data_title: Option<String>,
    /// How weights are moved
    #[arg(long, value_enum, default_value = "adamw")]
    optimizer: Optimizer,
    /// The learning rate over the run
    #[arg(long, value_enum, default_value = "one-cycle")]
    schedule: Schedule,
    /// Passes over the training clips [default: 27 for cnn, 30 for dense]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Windows in one step [default: 64 for cnn, 128 for dense]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    batch_size: Option<u32>,
    /// Highest learning rate [default: 0.002 for adam and adamw, 0.05 for sgd]
    #[arg(long, value_parser = positive)]
    learning_rate: Option<f64>,
    /// Pull of the weights towards 0 [default: 0.05 for adamw, 0.0005 for adam and sgd]
    #[arg(long, value_parser = amount)]
    weight_decay: Option<f32>,
    /// Longest gradient of all weights together; 0 clips nothing
    #[arg(long, default_value = "2", value_parser = amount)]
    clip_norm: f32,
    /// Share of the target that is spread over all labels
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    label_smoothing: f32,
    /// Let rare labels count more, so that each label counts alike
    #[arg(long)]
    class_weights: bool,
    /// Mix training windows by a share from the beta distribution with this parameter; 0 mixes none
    /// [default: 0 for cnn, 0.4 for dense]
    #[arg(long, value_name = "ALPHA", value_parser = amount)]
    mixup: Option<f32>,
    /// Keep the weights of the best epoch, not their average over the steps
    #[arg(long)]
    no_weight_averaging: bool,
    /// End the run after so many epochs without a better one; 0 never does
    #[arg(long, value_name = "EPOCHS", default_value = "0")]
    patience: usize,
    /// Keep the run's state here after each epoch, and go on from it where it is there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write a second file beside the model, in 8-bit integers
    #[arg(long, value_enum)]
    quantize: Option<Integers>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    changes: Changes,
    /// Where all randomness comes from
    #[arg(long, default_value = "0")]
    seed: u64,
    /// For TESS: the actress that tests while the other one trains: OAF or YAF [default: YAF]
    #[arg(long, value_name = "ACTRESS", value_parser = TessProtocol::test_on)]
    test_speaker: Option<TessProtocol>,
    /// For TESS: a random split with both voices everywhere, which promises nothing for another speaker
    #[arg(long, conflicts_with = "test_speaker")]
    speaker_dependent: bool,
    /// What the model gets of a frame
    #[arg(long, value_enum, default_value = "mfcc")]
    input: InputKind,
    /// The front end as JSON: the contract's "mfcc" entry [default: 64 mel bands from 20 to 7400 Hz; all 64 MFCCs for cnn,
    /// 24 for dense]
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
}

/// How training windows are changed. Where nothing is said, by what suits the kind of network.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Augmentation")]
struct Changes {
    /// Change neither samples nor features, but for what is asked for here
    #[arg(long)]
    no_augmentation: bool,
    /// Share of windows that pass a telephone line, 8 kHz and µ-law [default: 0.2 for cnn, 0.5 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    telephone: Option<f32>,
    /// Share of windows with white noise [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    noise: Option<f32>,
    /// Lowest and highest signal-to-noise ratio of that noise [default: 5 30]
    #[arg(long, value_name = "DB", num_args = 2, allow_negative_numbers = true)]
    noise_snr_db: Option<Vec<f32>>,
    /// Largest gain or loss [default: 0]
    #[arg(long, value_name = "DB", value_parser = amount)]
    gain_db: Option<f32>,
    /// Share of windows played at 0.9 to 1.1 times their speed and pitch [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    speed: Option<f32>,
    /// Largest stretch left out at the start [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = amount)]
    shift_seconds: Option<f32>,
    /// Largest logarithm of a change of tempo [default: 0.12 for cnn, 0 for dense]
    #[arg(long, value_name = "LN", value_parser = amount)]
    tempo: Option<f32>,
    /// Largest logarithm of a stretch of the mel axis, as by another vocal tract [default: 0.06 for cnn, 0 for dense]
    #[arg(long, value_name = "LN", value_parser = amount)]
    warp: Option<f32>,
    /// Most frames left out in a row [default: 30 for cnn, 0 for dense]
    #[arg(long, value_name = "FRAMES")]
    frame_mask: Option<usize>,
    /// Largest share of neighbouring mel bands left out [default: 0.18 for cnn, 0 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    band_mask: Option<f32>,
}

impl Changes {
    fn waveform(&self, kind: Kind) -> WaveformStrength {
        let none = WaveformStrength::NONE;
        let base = if self.no_augmentation { none } else { WaveformStrength::of(kind) };
        WaveformStrength {
            telephone: self.telephone.unwrap_or(base.telephone),
            noise: self.noise.unwrap_or(base.noise),
            noise_snr_db: self.noise_snr_db.as_ref().map_or(base.noise_snr_db, |it| (it[0].min(it[1]), it[0].max(it[1]))),
            gain_db: self.gain_db.unwrap_or(base.gain_db),
            speed: self.speed.unwrap_or(base.speed),
            shift_seconds: self.shift_seconds.unwrap_or(base.shift_seconds),
        }
    }

    fn features(&self, kind: Kind) -> Strength {
        let base = if self.no_augmentation { Strength::NONE } else { Strength::of(kind) };
        Strength {
            tempo: self.tempo.unwrap_or(base.tempo),
            warp: self.warp.unwrap_or(base.warp),
            frame_mask: self.frame_mask.unwrap_or(base.frame_mask),
            band_mask: self.band_mask.unwrap_or(base.band_mask),
            ..base
        }
    }
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
    let engine = context.loaded.config.engine;
    let stopped = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(stopped.clone());
    tokio::task::spawn_blocking(move || match args.join.is_empty() {
        true => train(args, stopped, &engine),
        false => join(args, &engine),
    })
    .await?
}

fn train(args: Args, stopped: Arc<AtomicBool>, engine: &Engine) -> anyhow::Result<()> {
    let (output, identity) = (args.output.clone(), args.identity()?);
    let (int8, force) = (args.quantize.map(|Integers::Int8| int8::path_beside(&output)), args.force);
    int8.iter().try_for_each(|path| check_output(path, force))?;
    let training = args.training(stopped)?;
    let trained = training.run()?;
    trained.write(&output, &identity)?;
    if let Some(checkpoint) = &training.keeping.checkpoint {
        // The run is over: its next one starts afresh.
        let _ = std::fs::remove_file(checkpoint);
    }
    print(&trained, &output);
    if int8.is_some() {
        print_int8(&trained.write_int8(&output, &identity, engine)?);
    }
    Ok(())
}

fn join(args: Args, engine: &Engine) -> anyhow::Result<()> {
    let (identity, data) = (args.identity()?, args.data());
    let parts = Parts::read(&args.join)?;
    let joined = join::write(&parts, &data, (&args.output, &identity), engine)?;
    println!("wrote {}: {} models in one", args.output.display(), args.join.len());
    print_scores(&joined.validation, &joined.test);
    Ok(())
}

/// The first Ctrl-C ends the run and keeps its best epoch; the second one ends the process.
fn stop_on_interrupt(stopped: Arc<AtomicBool>) {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if stopped.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("ending the run; once more to end it without a model");
        }
    });
}

impl Args {
    fn identity(&self) -> anyhow::Result<Identity> {
        let stem = self.output.file_stem().map(|it| it.to_string_lossy().into_owned());
        let unnamed = || UsageError(format!("--output {} names no file", self.output.display()));
        let name = self.name.clone().or(stem).ok_or_else(unnamed)?;
        Ok(Identity { name, version: self.version.clone(), data: self.data_title.clone() })
    }

    fn training(self, stopped: Arc<AtomicBool>) -> anyhow::Result<Training> {
        let mut recipe = Recipe::of(self.architecture);
        recipe.input = if self.input == InputKind::Mfcc { Input::Mfcc } else { Input::LogMel };
        if let Some(path) = &self.options {
            recipe.mfcc = read_options(path)?;
        }
        Ok(Training {
            data: self.data(),
            recipe,
            kind: self.architecture,
            waveform: self.changes.waveform(self.architecture),
            strength: self.changes.features(self.architecture),
            fit: self.fit(),
            keeping: Keeping { checkpoint: self.checkpoint.clone(), stopped },
        })
    }

    /// The datasets, TESS by the protocol that is asked for.
    fn data(&self) -> Vec<DatasetSpec> {
        let protocol = match self.speaker_dependent {
            true => Some(TessProtocol::SpeakerDependent { seed: self.seed }),
            false => self.test_speaker.clone(),
        };
        let mut data = self.data.clone();
        if let Some(protocol) = protocol {
            let tess = data.iter_mut().filter(|it| it.name == DatasetName::Tess);
            tess.for_each(|it| it.tess = protocol.clone());
        }
        data
    }

    fn fit(&self) -> FitOptions {
        let base = FitOptions::of(self.architecture, self.optimizer);
        FitOptions {
            epochs: self.epochs.map_or(base.epochs, |it| it as usize),
            batch_size: self.batch_size.map_or(base.batch_size, |it| it as usize),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            schedule: self.schedule,
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            clip_norm: self.clip_norm,
            label_smoothing: self.label_smoothing,
            class_weights: self.class_weights,
            mixup: self.mixup.unwrap_or(base.mixup),
            weight_averaging: !self.no_weight_averaging,
            patience: self.patience,
            seed: self.seed,
            ..base
        }
    }
}

fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn amount(text: &str) -> Result<f32, String> {
    let amount = text.parse().ok().filter(|it: &f32| it.is_finite() && *it >= 0.0);
    amount.ok_or_else(|| "expected a number of at least 0".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let amount = text.parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0);
    amount.ok_or_else(|| "expected a number above 0".to_owned())
}

/// Hours of training must not end at a folder that is not there, or at a file that has to stay.
fn check_output(output: &Path, force: bool) -> anyhow::Result<()> {
    if output.is_file() && !force {
        return Err(UsageError(format!("--output {}: it is there; --force writes over it", output.display())).into());
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

fn print(trained: &Trained, output: &Path) {
    println!(
        "wrote {}: labels {}; {} parameters, {:.1} MFLOP a window; best epoch {}, temperature {:.3}",
        output.display(),
        trained.labels.join(", "),
        trained.parameters(),
        trained.architecture.operations() as f64 / 1e6,
        trained.fitted.epoch,
        trained.fitted.temperature
    );
    print_scores(&trained.fitted.validation, &trained.test);
}

fn print_scores(validation: &Score, test: &Score) {
    for (what, score) in [("validation", validation), ("test", test)] {
        println!(
            "{what:<10} accuracy {:.4}  UAR {:.4}  macro F1 {:.4}  loss {:.4}",
            score.accuracy, score.unweighted_average_recall, score.macro_f1, score.loss
        );
    }
}

fn print_int8(int8: &Int8) {
    println!("wrote {}: {:.2} times as fast", int8.path.display(), int8.speed_up);
    for (what, [float, int8]) in [("validation", int8.validation), ("test", int8.test)] {
        println!(
            "{what:<10} accuracy {:.4} ({:+.4})  UAR {:.4} ({:+.4})",
            int8.accuracy,
            int8.accuracy - float.accuracy,
            int8.unweighted_average_recall,
            int8.unweighted_average_recall - float.unweighted_average_recall
        );
    }
}
