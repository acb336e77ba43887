//! `affectd train`: labelled clips in, one ONNX file with its contract out.
//!
//! In: arguments. Out: the file; the validation and test figures on stdout, progress on stderr. Chooses by the
//! validation clips alone; the test clips are measured once, at the end.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::UsageError;
use super::protocol::ProtocolArgs;
use crate::evaluation::datasets::{DatasetSpec, Protocol};
use crate::features::MfccOptions;
use crate::train::architecture::Kind;
use crate::train::augment::Strength;
use crate::train::corpus::Recipe;
use crate::train::fit::{FitOptions, Optimizer};
use crate::train::{Identity, Trained, Training};

/// Arguments of `affectd train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled clips: tess:DIR, crema-d:DIR or manifest:FILE.csv; repeatable
    #[arg(long, required = true, value_name = "NAME:PATH", value_parser = DatasetSpec::parse)]
    data: Vec<DatasetSpec>,
    /// The kind of network
    #[arg(long, value_enum)]
    architecture: Kind,
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
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Optimizer,
    /// Passes over the training clips
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Windows in one step
    #[arg(long, default_value = "32", value_parser = clap::value_parser!(u32).range(2..))]
    batch_size: u32,
    /// Highest learning rate [default: 0.003 for adam, 0.05 for sgd]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Largest share of a second window that is mixed into a training window
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    mixup: f32,
    /// Where all randomness comes from
    #[arg(long, default_value = "0")]
    seed: u64,
    /// The front end as JSON: the contract's "mfcc" entry [default: 40 MFCCs of 40 mel bands, 20 to 7400 Hz]
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// Speakers and labels.
    #[command(flatten)]
    protocol: ProtocolArgs,
}

/// Runs the command.
pub async fn run(args: Args, _context: super::Context) -> anyhow::Result<()> {
    let output = args.output.clone();
    let identity = args.identity()?;
    check_folder(&output)?;
    let training = args.training()?;
    let trained = tokio::task::spawn_blocking(move || training.run()).await??;
    trained.write(&output, &identity)?;
    print(&trained, &output);
    Ok(())
}

impl Args {
    fn identity(&self) -> anyhow::Result<Identity> {
        let stem = self.output.file_stem().map(|it| it.to_string_lossy().into_owned());
        let unnamed = || UsageError(format!("--output {} names no file", self.output.display()));
        let name = self.name.clone().or(stem).ok_or_else(unnamed)?;
        Ok(Identity { name, version: self.version.clone(), data: self.data_title.clone() })
    }

    fn training(self) -> anyhow::Result<Training> {
        let mut recipe = Recipe::default();
        if let Some(path) = &self.options {
            recipe.mfcc = read_options(path)?;
        }
        let mut data = self.data.clone();
        self.protocol.settle(&mut data);
        let protocol = self.protocol.protocol(self.seed)?;
        warn_of_shared_speakers(&protocol);
        Ok(Training {
            data,
            label_map: self.protocol.labels()?,
            protocol,
            recipe,
            kind: self.architecture,
            strength: Strength::of(self.architecture),
            fit: self.fit(),
        })
    }

    fn fit(&self) -> FitOptions {
        let mut fit = FitOptions::of(self.architecture, self.optimizer);
        fit.epochs = self.epochs as usize;
        fit.batch_size = self.batch_size as usize;
        fit.learning_rate = self.learning_rate.unwrap_or(fit.learning_rate);
        fit.mixup = self.mixup;
        fit.seed = self.seed;
        fit
    }
}

fn warn_of_shared_speakers(protocol: &Protocol) {
    if matches!(protocol, Protocol::Random { .. }) {
        eprintln!(
            "WARNING: with the protocol random the same speakers train and test: the figures promise nothing for \
             another speaker"
        );
    }
}

fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|it| (0.0..=0.5).contains(it));
    share.ok_or_else(|| "expected a number from 0 to 0.5".to_owned())
}

/// Hours of training must not end at a folder that is not there.
fn check_folder(output: &Path) -> anyhow::Result<()> {
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
    for (what, score) in [("validation", &trained.fitted.validation), ("test", &trained.test)] {
        println!(
            "{what:<10} accuracy {:.4}  UAR {:.4}  macro F1 {:.4}  loss {:.4}",
            score.accuracy, score.unweighted_average_recall, score.macro_f1, score.loss
        );
    }
}
