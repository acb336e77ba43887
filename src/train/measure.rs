//! Scoring and timing of model files with ONNX Runtime.
//!
//! Input: a model file and a corpus with its features. Output: log-probabilities, scores, and the speed-up over another
//! file. Invariants: models run on the CPU, in the engine that serves them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::corpus::{Corpus, LabelledWindow};
use super::score::{Score, score};
use crate::config;
use crate::model::{Model, ModelSource};

/// The batch size, in windows.
const BATCH: usize = 32;
/// The number of rounds in which two files are timed alternately. The fastest round of each counts, because other load on
/// the machine can only make a round slower.
const ROUNDS: usize = 15;

/// A loaded model file.
#[derive(Debug)]
pub struct MeasuredModel {
    model: Model,
    window: usize,
}

impl MeasuredModel {
    /// Loads a model file on the CPU.
    ///
    /// # Errors
    /// Returns an error where the model cannot be loaded.
    pub fn load(path: &Path, engine: &config::Engine) -> anyhow::Result<Self> {
        let engine = config::Engine { device: config::Device::Cpu, ..engine.clone() };
        let model = Model::load(ModelSource::File(path.to_owned()), &engine)?;
        let window = model.contract.rows() * model.contract.coefficients();
        Ok(Self { model, window })
    }

    /// Returns the natural logarithms of the probabilities of each window, `[windows][labels]`. They equal the logits up to a
    /// constant per window, which the softmax removes.
    ///
    /// # Errors
    /// Returns an error where inference fails.
    pub fn logits(&mut self, windows: &[LabelledWindow]) -> anyhow::Result<Vec<Vec<f32>>> {
        let labels = self.model.contract.labels.len();
        let mut logits = Vec::with_capacity(windows.len());
        let mut out = Vec::new();
        for batch in windows.chunks(BATCH) {
            let features = self.padded(batch);
            self.model.sessions[0].run(&features, batch.len(), &mut out)?;
            let rows = out.chunks_exact(labels);
            logits.extend(rows.map(|row| row.iter().map(|it| it.max(1e-7).ln()).collect::<Vec<f32>>()));
        }
        Ok(logits)
    }

    /// Scores the model on a corpus.
    ///
    /// # Errors
    /// Returns an error where inference fails.
    pub fn score(&mut self, corpus: &Corpus) -> anyhow::Result<Score> {
        Ok(score(corpus, &self.logits(&corpus.windows)?, 1.0))
    }

    fn padded(&self, windows: &[LabelledWindow]) -> Vec<f32> {
        let mut features = vec![0.0; windows.len() * self.window];
        for (window, out) in windows.iter().zip(features.chunks_exact_mut(self.window)) {
            window.write_padded(out);
        }
        features
    }

    fn seconds(&mut self, features: &[f32]) -> anyhow::Result<Duration> {
        let (began, mut out) = (Instant::now(), Vec::new());
        self.model.sessions[0].run(features, features.len() / self.window, &mut out)?;
        Ok(began.elapsed())
    }
}

/// Returns the time of `slow` divided by the time of `fast`, timed alternately on the same windows.
///
/// # Errors
/// Returns an error where inference fails.
pub fn speed_up(
    slow: &mut MeasuredModel,
    fast: &mut MeasuredModel,
    windows: &[LabelledWindow],
) -> anyhow::Result<f64> {
    let features = slow.padded(&windows[..windows.len().min(BATCH)]);
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(slow.seconds(&features)?);
        best[1] = best[1].min(fast.seconds(&features)?);
    }
    Ok(best[0].as_secs_f64() / best[1].as_secs_f64())
}
