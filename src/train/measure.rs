//! Model files measured as they will run: through the engine, on windows of labelled clips.
//!
//! In: a file and a corpus in its own features. Out: probabilities, scores, and how long a window takes beside another
//! file. Never changes a model.

use std::path::Path;
use std::time::{Duration, Instant};

use super::corpus::{Corpus, LabelledWindow};
use super::score::{Score, score};
use crate::config;
use crate::model::{Model, ModelSource};

/// Windows that run together.
const BATCH: usize = 32;
/// Rounds in which two files take turns; the fastest round of each counts, so that a busy machine does no harm.
const ROUNDS: usize = 15;

/// A model file that is loaded.
#[derive(Debug)]
pub struct MeasuredModel {
    model: Model,
    window: usize,
}

impl MeasuredModel {
    /// Loads a file.
    ///
    /// # Errors
    /// Whatever loading a model may meet.
    pub fn load(path: &Path, engine: &config::Engine) -> anyhow::Result<Self> {
        let engine = config::Engine { device: config::Device::Cpu, ..engine.clone() };
        let model = Model::load(ModelSource::File(path.to_owned()), &engine)?;
        let window = model.contract.rows() * model.contract.coefficients();
        Ok(Self { model, window })
    }

    /// Natural logarithms of the probabilities of each window, `[windows][labels]`.
    ///
    /// # Errors
    /// A model that gives no answer.
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

    /// What the file reaches on a corpus.
    ///
    /// # Errors
    /// A model that gives no answer.
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

/// How many times faster the second file is than the first one, by turns on the same windows.
///
/// # Errors
/// A model that gives no answer.
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
