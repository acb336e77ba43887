//! The report of a training run, as a folder.
//!
//! Input: a [`TrainingReport`]. Output: `metrics.json`, `config.json`, pictures as SVG, and `index.html`, which contains
//! all of them. Invariants: the page loads nothing from the network; the same report gives the same files.

mod chart;
mod confusion;
mod curves;
mod figures;
mod page;
mod reliability;
mod run;
mod svg;

use std::path::Path;

use super::audit::Audit;
use super::state::EpochRecord;
use crate::evaluation::ScoredClip;
use anyhow::{Context, bail};

use figures::Figures;
use svg::Svg;

/// The content of a report.
#[derive(Debug, Clone)]
pub struct TrainingReport {
    /// The model's name and version, such as `toy@0.1.0`.
    pub model: String,
    /// The data and its split, in one line.
    pub protocol: String,
    /// Whether training and test clips share speakers, which the page states at its top.
    pub shares_speakers: bool,
    /// The emotions in the order of the probabilities.
    pub labels: Vec<String>,
    /// The number of training clips.
    pub training_clips: usize,
    /// The results of each epoch. The training loss is measured on augmented windows and smoothed targets, so it is not
    /// comparable with the validation loss.
    pub history: Vec<EpochRecord>,
    /// The number of the best epoch, from 1.
    pub best_epoch: usize,
    /// The validation clips, at the model's temperature.
    pub validation: Vec<ScoredClip>,
    /// The test clips, at the model's temperature.
    pub test: Vec<ScoredClip>,
    /// The softmax temperature.
    pub temperature: f64,
    /// The number of learnt parameters.
    pub parameters: usize,
    /// The frozen encoder, its layer and its pooling in words; `None` for a network without an encoder.
    pub encoder: Option<String>,
    /// The floating-point operations per window, in millions; those of an encoder are not counted.
    pub mflop_per_window: f64,
    /// The duration of the run.
    pub seconds: f64,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The findings of the audit.
    pub audit: Audit,
    /// The command line, as a list of arguments.
    pub command: Vec<String>,
    /// All settings of the run, as a JSON object.
    pub settings: serde_json::Value,
}

/// The pictures with their file names.
struct Pictures {
    curves: Vec<(&'static str, Svg)>,
    splits: Vec<SplitPictures>,
}

/// The pictures of one split.
struct SplitPictures {
    title: &'static str,
    confusion: (&'static str, Svg),
    reliability: (&'static str, Svg),
}

/// Checks, before training, that the report folder does not exist or may be overwritten.
///
/// # Errors
/// Returns an error that names the folder.
pub fn check_folder(folder: &Path, overwrite: bool) -> anyhow::Result<()> {
    if folder.exists() && !(overwrite && folder.is_dir()) {
        let hint = if folder.is_dir() { "exists; --force overwrites it" } else { "is not a folder" };
        bail!("report folder {} {hint}", folder.display());
    }
    Ok(())
}

impl TrainingReport {
    /// Writes all files into `folder`, which is created where it does not exist.
    ///
    /// # Errors
    /// Returns an error where the folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        for (name, content) in self.files()? {
            let path = folder.join(name);
            std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Returns the name and the content of every file.
    ///
    /// # Errors
    /// Returns an error where the figures cannot be serialized.
    pub fn files(&self) -> anyhow::Result<Vec<(String, String)>> {
        let figures = Figures::of(self);
        let pictures = self.pictures(&figures);
        let config = serde_json::json!({ "command": self.command, "settings": self.settings });
        let mut files = vec![
            ("metrics.json".to_owned(), serde_json::to_string_pretty(&figures)? + "\n"),
            ("config.json".to_owned(), serde_json::to_string_pretty(&config)? + "\n"),
            ("index.html".to_owned(), page::html(self, &figures, &pictures)),
        ];
        let split_pictures = pictures.splits.iter().flat_map(|split| [&split.confusion, &split.reliability]);
        let drawn = pictures.curves.iter().chain(split_pictures);
        files.extend(drawn.map(|(name, svg)| (format!("{name}.svg"), svg.file())));
        Ok(files)
    }

    fn pictures(&self, figures: &Figures) -> Pictures {
        let split = |title, confusion, reliability, split: &figures::SplitFigures, clips| SplitPictures {
            title,
            confusion: (confusion, confusion::draw(&self.labels, &split.confusion_matrix)),
            reliability: (reliability, reliability::draw(clips)),
        };
        let validation = &figures.validation;
        Pictures {
            curves: curves::draw(&self.history, self.best_epoch),
            splits: vec![
                split("Test", "confusion-test", "reliability-test", &figures.test, &self.test),
                split(
                    "Validation",
                    "confusion-validation",
                    "reliability-validation",
                    validation,
                    &self.validation,
                ),
            ],
        }
    }
}
