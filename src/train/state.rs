//! The state of a training run, and its checkpoints.
//!
//! Input: the state after each epoch. Output: the same state, loaded from a checkpoint of the same run. Invariants: a
//! checkpoint is written to a temporary name and renamed, so that it is never partial.

use std::path::Path;

use anyhow::{Context, ensure};
use burn::optim::ModuleOptimizer;
use burn::tensor::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::fit::Fit;
use super::network::Network;
use super::optimizer::{WeightAverage, collected, replaced};
use super::score::Score;
use super::waveform::Waveform;

/// The results of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct EpochRecord {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// The mean training loss over its steps, on augmented windows and soft targets.
    pub loss: f64,
    /// The learning rate at the end of the epoch.
    pub learning_rate: f64,
    /// The score on the validation clips, at temperature 1.
    pub validation: Score,
}

/// The best epoch of a run so far.
#[derive(Debug)]
pub struct BestEpoch {
    /// The network after the epoch, without gradients.
    pub network: Network,
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// The score on the validation clips.
    pub reached: Score,
}

/// The state of a run.
pub struct State {
    /// The network that is being trained.
    pub network: Network,
    /// The optimizer with its moments.
    pub optimizer: ModuleOptimizer,
    /// The moving average of the network's parameters.
    pub average: WeightAverage,
    /// The best epoch so far.
    pub best: Option<BestEpoch>,
    /// The results of each epoch.
    pub history: Vec<EpochRecord>,
}

impl State {
    /// Writes a checkpoint to `path` and replaces an existing one.
    ///
    /// # Errors
    /// Returns an error where the file cannot be written.
    pub fn save(&self, path: &Path, run: u64) -> anyhow::Result<()> {
        let optimizer = self.optimizer.into_bytes().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let best = self.best.as_ref().map(|best| BestMessage {
            network: tensors(collected(&best.network)),
            epoch: best.epoch as u64,
            reached: Some(best.reached.into()),
        });
        let checkpoint = Checkpoint {
            run,
            network: tensors(collected(&self.network)),
            average: tensors(self.average.values.clone()),
            average_steps: self.average.steps as u64,
            optimizer: optimizer.to_vec(),
            best,
            history: self.history.iter().map(EpochMessage::from).collect(),
        };
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, checkpoint.encode_to_vec())
            .and_then(|()| std::fs::rename(&unfinished, path))
            .with_context(|| format!("write checkpoint {}", path.display()))
    }

    /// Loads a checkpoint of the same run.
    ///
    /// # Errors
    /// Returns an error where the file cannot be read, is not a checkpoint, or belongs to another run.
    pub fn load(self, path: &Path, run: u64) -> anyhow::Result<Self> {
        let named = || format!("read checkpoint {}", path.display());
        let bytes = std::fs::read(path).with_context(named)?;
        let saved = Checkpoint::decode(bytes.as_slice()).with_context(named)?;
        ensure!(
            saved.run == run,
            "checkpoint {}: it belongs to a run with other data or settings; remove it or name another file",
            path.display()
        );
        let optimizer = Bytes::from_bytes_vec(saved.optimizer);
        let optimizer = self.optimizer.from_bytes(optimizer).map_err(|error| anyhow::anyhow!("{error:?}"));
        let best = saved.best.map(|best| BestEpoch {
            network: replaced(burn::module::Module::valid(&self.network), &values(best.network)),
            epoch: best.epoch as usize,
            reached: best.reached.unwrap_or_default().into(),
        });
        Ok(Self {
            network: replaced(self.network, &values(saved.network)),
            optimizer: optimizer.with_context(named)?,
            average: WeightAverage { values: values(saved.average), steps: saved.average_steps as usize },
            best,
            history: saved.history.into_iter().map(EpochRecord::from).collect(),
        })
    }
}

/// Returns a hash (the first bytes of a SHA-256) of the options, the architecture, the front stage and the numbers of windows. Two runs with the same
/// data and options have the same hash.
pub fn run_number(fit: &Fit) -> u64 {
    let of_run = (&fit.options, &fit.architecture, &fit.front, &fit.augmentations.features);
    let waveform = fit.augmentations.waveform.as_ref().map(Waveform::strength);
    let windows = (fit.train.windows.len(), fit.validation.windows.len(), fit.copies.len());
    let digest = Sha256::digest(format!("{of_run:?} {waveform:?} {windows:?}"));
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn tensors(values: Vec<Vec<f32>>) -> Vec<Tensor> {
    values.into_iter().map(|values| Tensor { values }).collect()
}

fn values(tensors: Vec<Tensor>) -> Vec<Vec<f32>> {
    tensors.into_iter().map(|tensor| tensor.values).collect()
}

#[derive(Clone, PartialEq, prost::Message)]
struct Checkpoint {
    #[prost(fixed64, tag = "1")]
    run: u64,
    #[prost(message, repeated, tag = "2")]
    network: Vec<Tensor>,
    #[prost(message, repeated, tag = "3")]
    average: Vec<Tensor>,
    #[prost(uint64, tag = "4")]
    average_steps: u64,
    #[prost(bytes = "vec", tag = "5")]
    optimizer: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    best: Option<BestMessage>,
    #[prost(message, repeated, tag = "7")]
    history: Vec<EpochMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tensor {
    #[prost(float, repeated, tag = "1")]
    values: Vec<f32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BestMessage {
    #[prost(message, repeated, tag = "1")]
    network: Vec<Tensor>,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, optional, tag = "3")]
    reached: Option<ScoreMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EpochMessage {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(double, tag = "2")]
    loss: f64,
    #[prost(double, tag = "3")]
    learning_rate: f64,
    #[prost(message, optional, tag = "4")]
    validation: Option<ScoreMessage>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct ScoreMessage {
    #[prost(double, tag = "1")]
    accuracy: f64,
    #[prost(double, tag = "2")]
    unweighted_average_recall: f64,
    #[prost(double, tag = "3")]
    macro_f1: f64,
    #[prost(double, tag = "4")]
    loss: f64,
}

impl From<Score> for ScoreMessage {
    fn from(score: Score) -> Self {
        let Score { accuracy, unweighted_average_recall, macro_f1, loss } = score;
        Self { accuracy, unweighted_average_recall, macro_f1, loss }
    }
}

impl From<ScoreMessage> for Score {
    fn from(message: ScoreMessage) -> Self {
        let ScoreMessage { accuracy, unweighted_average_recall, macro_f1, loss } = message;
        Self { accuracy, unweighted_average_recall, macro_f1, loss }
    }
}

impl From<&EpochRecord> for EpochMessage {
    fn from(record: &EpochRecord) -> Self {
        let EpochRecord { epoch, loss, learning_rate, validation } = *record;
        Self { epoch: epoch as u64, loss, learning_rate, validation: Some(validation.into()) }
    }
}

impl From<EpochMessage> for EpochRecord {
    fn from(message: EpochMessage) -> Self {
        let EpochMessage { epoch, loss, learning_rate, validation } = message;
        Self { epoch: epoch as usize, loss, learning_rate, validation: validation.unwrap_or_default().into() }
    }
}
