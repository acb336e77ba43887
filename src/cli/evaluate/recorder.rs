//! The progress of an evaluation, its skipped clips and its predictions as CSV.
//!
//! Input: the result of each clip. Output: progress and the reasons of skipped clips on stderr, and the file of predictions.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::corpus::progress;
use crate::proto::ClipResult;

/// Collects the progress, the predictions and the skipped clips of an evaluation.
pub struct ClipRecorder {
    progress: ProgressBar,
    predictions: Option<Predictions>,
    /// The number of skipped clips by kind of reason, with the first clip and its details.
    skipped: BTreeMap<String, (u64, String)>,
}

impl ClipRecorder {
    /// Creates a recorder of `clips` clips, and the file of predictions, if there is to be one.
    ///
    /// # Errors
    /// Returns an error where the file cannot be created.
    pub fn new(clips: u64, predictions: Option<PathBuf>) -> anyhow::Result<Self> {
        let progress = progress(clips)?;
        let predictions = predictions.map(Predictions::create).transpose()?;
        Ok(Self { progress, predictions, skipped: BTreeMap::new() })
    }

    /// Records the result of one clip.
    pub fn add(&mut self, result: &ClipResult) {
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

    /// Prints why clips were skipped, and completes the file of predictions.
    ///
    /// # Errors
    /// Returns the first error of writing the file.
    pub fn finish(self) -> anyhow::Result<()> {
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
