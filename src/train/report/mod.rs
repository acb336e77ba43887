//! What a training run did, as a folder: figures for programs, pictures and one page for people.
//!
//! In: a [`TrainingReport`]. Out: `metrics.json`, `config.json`, the pictures as SVG, and `index.html`, which holds all
//! of them and needs nothing from outside. Never measures anything but the clips it is given; the same report gives the
//! same files.

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

/// A run with all that is told of it.
#[derive(Debug, Clone)]
pub struct TrainingReport {
    /// Name and version, as in `toy@0.1.0`.
    pub model: String,
    /// The data and how it was split, in one line.
    pub protocol: String,
    /// Whether speakers of the test part also train, which the page says at its top.
    pub shares_speakers: bool,
    /// Emotions in the order of the probabilities.
    pub labels: Vec<String>,
    /// Training clips.
    pub training_clips: usize,
    /// Every epoch, in order. Its training loss is of changed windows and smoothed targets: not to be held against the
    /// validation loss.
    pub history: Vec<EpochRecord>,
    /// The epoch whose network was kept, from 1.
    pub best_epoch: usize,
    /// The validation clips, at the model's temperature.
    pub validation: Vec<ScoredClip>,
    /// The test clips, at the model's temperature.
    pub test: Vec<ScoredClip>,
    /// What the logits are divided by.
    pub temperature: f64,
    /// Learnt numbers.
    pub parameters: usize,
    /// Multiplications and additions for one window, in millions.
    pub mflop_per_window: f64,
    /// How long the run took.
    pub seconds: f64,
    /// Where all randomness came from.
    pub seed: u64,
    /// What was found in the data.
    pub audit: Audit,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// Every setting that was used, as a JSON object.
    pub settings: serde_json::Value,
}

/// The pictures with their files' names.
struct Pictures {
    curves: Vec<(&'static str, Svg)>,
    splits: Vec<SplitPictures>,
}

/// What is drawn of one split.
struct SplitPictures {
    title: &'static str,
    confusion: (&'static str, Svg),
    reliability: (&'static str, Svg),
}

/// Refuses a folder that is there already, unless it may be overwritten. To be asked before training.
///
/// # Errors
/// Names the folder.
pub fn check_folder(folder: &Path, overwrite: bool) -> anyhow::Result<()> {
    if folder.exists() && !(overwrite && folder.is_dir()) {
        let hint = if folder.is_dir() { "is there already; --force overwrites it" } else { "is no folder" };
        bail!("report folder {} {hint}", folder.display());
    }
    Ok(())
}

impl TrainingReport {
    /// Writes all files into `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        for (name, content) in self.files()? {
            let path = folder.join(name);
            std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Every file's name and content.
    ///
    /// # Errors
    /// Settings that are no JSON, which none of ours are.
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
