//! Evaluates clips through a batcher.
//!
//! Input: labelled clips, one by one. Output: the outcome of each, with the mean prediction over the clip's windows. The batcher may serve
//! streams at the same time; a few clips of an evaluation are under way at once. Invariant: no event is published.

use std::sync::Arc;

use futures::future::try_join_all;
use prost::bytes::Bytes;
use tokio::sync::mpsc;

use super::{ClipFrontEnd, EvaluationError, LabelledClip};
use crate::audio::AudioFormat;
use crate::batch::Job;
use crate::batch::ReplyOrigin;
use crate::model::{Contract, EngineError, Prediction};
use crate::proto;
use crate::stream::StreamSetup;

/// Why a clip was left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// The model cannot be right on it.
    #[error("label {0:?} is not among the model's")]
    Label(String),
    /// Its audio cannot be decoded.
    #[error("audio: {0}")]
    Audio(String),
}

/// The outcome of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipOutcome {
    /// Names the clip.
    pub id: String,
    /// The true emotion.
    pub truth: String,
    /// Who speaks, where that is known.
    pub speaker: Option<String>,
    /// The mean prediction over the clip's windows; or why there is none.
    pub prediction: Result<Prediction, Skipped>,
}

/// Scores clips with the model behind a batcher.
#[derive(Debug)]
pub struct Evaluator<O> {
    contract: Arc<Contract>,
    setup: Arc<StreamSetup>,
    jobs: mpsc::Sender<Job<O>>,
    /// Front ends that no clip uses at the moment, with the resampling tables that they have made.
    spare: (crossbeam_channel::Sender<ClipFrontEnd>, crossbeam_channel::Receiver<ClipFrontEnd>),
}

impl<O> Clone for Evaluator<O> {
    fn clone(&self) -> Self {
        Self {
            contract: self.contract.clone(),
            setup: self.setup.clone(),
            jobs: self.jobs.clone(),
            spare: self.spare.clone(),
        }
    }
}

impl<O: From<ReplyOrigin>> Evaluator<O> {
    /// An evaluator of the model with `contract`, whose streams have `setup` and whose batcher takes `jobs`.
    #[must_use]
    pub fn new(contract: Arc<Contract>, setup: StreamSetup, jobs: mpsc::Sender<Job<O>>) -> Self {
        let spare = crossbeam_channel::bounded(clips_in_flight());
        Self { contract, setup: Arc::new(setup), jobs, spare }
    }

    /// The model's contract.
    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Scores one clip. Dropping the future gives up the clip's windows.
    ///
    /// # Errors
    /// [`EvaluationError::Engine`] where the model gives no answer.
    pub async fn score(&self, clip: LabelledClip) -> Result<ClipOutcome, EvaluationError> {
        let LabelledClip { id, label, speaker, format, audio } = clip;
        let outcome = |prediction| ClipOutcome { id, truth: label.clone(), speaker, prediction };
        if !self.contract.labels.contains(&label) {
            return Ok(outcome(Err(Skipped::Label(label.clone()))));
        }
        match self.windows(format, audio).await {
            Ok(windows) => Ok(outcome(Ok(self.mean_over(windows).await?))),
            Err(reason) => Ok(outcome(Err(Skipped::Audio(reason)))),
        }
    }

    /// Decodes and computes features away from the async threads.
    async fn windows(&self, format: AudioFormat, audio: Bytes) -> Result<Vec<Vec<f32>>, String> {
        let (setup, (back, spare)) = (self.setup.clone(), self.spare.clone());
        let windows = tokio::task::spawn_blocking(move || {
            let mut front_end = spare.try_recv().unwrap_or_else(|_| ClipFrontEnd::new(&setup));
            let windows = front_end.windows(format, &audio);
            // Where enough are spare, this one is dropped.
            let _ = back.try_send(front_end);
            windows
        });
        windows.await.unwrap_or_else(|_| Err("the front end panicked".to_owned()))
    }

    async fn mean_over(&self, windows: Vec<Vec<f32>>) -> Result<Prediction, EngineError> {
        let count = windows.len() as f32;
        let mut answers = Vec::with_capacity(windows.len());
        for features in windows {
            let (origin, answer) = ReplyOrigin::new();
            self.jobs.send(Job::new(features, origin.into())).await.map_err(|_| EngineError::Ended)?;
            answers.push(async { answer.await.unwrap_or(Err(EngineError::Ended)) });
        }
        let mut mean = Prediction {
            scores: vec![0.0; self.contract.labels.len()],
            values: vec![0.0; self.contract.values.len()],
        };
        for prediction in try_join_all(answers).await? {
            add(&mut mean.scores, prediction.scores);
            add(&mut mean.values, prediction.values);
        }
        mean.scores.iter_mut().chain(&mut mean.values).for_each(|sum| *sum /= count);
        Ok(mean)
    }
}

fn add(sums: &mut [f32], row: Vec<f32>) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

/// How many clips of one evaluation are worth having under way: enough to keep decoding and the model busy.
pub(crate) fn clips_in_flight() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

impl ClipOutcome {
    /// As the protocol has it.
    #[must_use]
    pub fn to_proto(&self, labels: &[String]) -> proto::ClipResult {
        let (id, truth) = (self.id.clone(), self.truth.clone());
        match &self.prediction {
            Err(skipped) => {
                proto::ClipResult { id, truth, skipped: skipped.to_string(), ..Default::default() }
            }
            Ok(Prediction { scores, .. }) => proto::ClipResult {
                id,
                truth,
                prediction: labels[super::most_probable(scores)].clone(),
                scores: labels
                    .iter()
                    .zip(scores)
                    .map(|(emotion, probability)| proto::EmotionScore {
                        emotion: emotion.clone(),
                        probability: *probability,
                    })
                    .collect(),
                skipped: String::new(),
            },
        }
    }
}
