//! Scoring of clips through a batcher.
//!
//! Input: labelled clips. Output: a [`ClipOutcome`] for each: the mean of the probabilities of its windows, or the reason
//! why it was skipped. Invariants: no event is published; the batcher may serve other streams at the same time.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::clip::mixed_down;
use super::{ClipFrontEnd, EvaluationError, LabelledClip};
use crate::audio::{AudioFormat, ChannelLayout, FileError, mean_of_channels};
use crate::batch::Job;
use crate::batch::ReplyOrigin;
use crate::model::{Contract, EngineError, Prediction};
use crate::proto;
use crate::serving::{ClientFile, Decoders, JobOrigin, ServedModel};
use crate::stream::{BadChunk, InputBounds, StreamSetup};
use crate::telemetry::excerpt;

/// Windows of one clip that wait for the model.
const WINDOWS_AHEAD: usize = 16;

/// Why a clip was skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The model does not have the clip's label, so no prediction could be correct.
    #[error("label {:?} is not among the model's", excerpt(.0))]
    Label(String),
    /// The audio cannot be decoded, or is too short.
    #[error("audio: {0}")]
    Audio(String),
}

/// The result of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipOutcome {
    /// The clip's id.
    pub id: String,
    /// The true emotion.
    pub truth: String,
    /// The speaker's id, where it is known.
    pub speaker: Option<String>,
    /// The mean prediction over the clip's windows; or why there is none.
    pub prediction: Result<Prediction, SkipReason>,
}

/// Scores clips with the model of a batcher.
#[derive(Debug)]
pub struct Evaluator<O> {
    contract: Arc<Contract>,
    setup: Arc<StreamSetup>,
    jobs: mpsc::Sender<Job<O>>,
    /// The threads that decode the files of clients; the files of the operator are decoded where they are read.
    decoders: Option<Decoders>,
    /// Idle front ends. They are kept because each holds resampling tables that are expensive to build.
    spare: (crossbeam_channel::Sender<ClipFrontEnd>, crossbeam_channel::Receiver<ClipFrontEnd>),
}

impl<O> Clone for Evaluator<O> {
    fn clone(&self) -> Self {
        Self {
            contract: self.contract.clone(),
            setup: self.setup.clone(),
            jobs: self.jobs.clone(),
            decoders: self.decoders.clone(),
            spare: self.spare.clone(),
        }
    }
}

impl Evaluator<JobOrigin> {
    /// Returns an evaluator for a model in service, on the batcher of its streams, whose files `decoders` decode.
    #[must_use]
    pub fn of(model: &ServedModel, decoders: Decoders) -> Self {
        let evaluator = Self::new(model.contract.clone(), model.setup.clone(), model.jobs.clone());
        Self { decoders: Some(decoders), ..evaluator }
    }
}

impl<O: From<ReplyOrigin>> Evaluator<O> {
    /// Creates an evaluator for the model with `contract`, its front end `setup` and the queue `jobs` of its batcher.
    #[must_use]
    pub fn new(contract: Arc<Contract>, setup: StreamSetup, jobs: mpsc::Sender<Job<O>>) -> Self {
        let spare = crossbeam_channel::bounded(clips_in_flight());
        Self { contract, setup: Arc::new(setup), jobs, decoders: None, spare }
    }

    /// Returns the model's contract.
    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Returns the bounds of a clip's id, label and speaker.
    #[must_use]
    pub fn bounds(&self) -> InputBounds {
        self.setup.bounds
    }

    /// Scores one clip. Dropping the future abandons the clip's windows.
    ///
    /// # Errors
    /// Returns [`EvaluationError::Engine`] where the model fails.
    pub async fn score(&self, clip: LabelledClip) -> Result<ClipOutcome, EvaluationError> {
        let LabelledClip { id, label, speaker, format, audio } = clip;
        let outcome = |prediction| ClipOutcome { id, truth: label.clone(), speaker, prediction };
        if !self.contract.labels.contains(&label) {
            return Ok(outcome(Err(SkipReason::Label(label.clone()))));
        }
        match self.predict(format, audio).await? {
            Ok(prediction) => Ok(outcome(Ok(prediction))),
            Err(reason) => Ok(outcome(Err(SkipReason::Audio(reason)))),
        }
    }

    /// Returns the mean prediction over the windows of a clip, or why the clip is skipped.
    async fn predict(
        &self,
        format: AudioFormat,
        audio: Bytes,
    ) -> Result<Result<Prediction, String>, EvaluationError> {
        let Some(decoders) = self.decoders.as_ref().filter(|_| format.is_file()) else {
            return self.predict_source(Source::Encoded(format, audio)).await;
        };
        let mut memory = decoders.budget().reservation();
        memory.set(audio.len() + ClientFile::DECODING_BYTES)?;
        let mut file = match ClientFile::open(decoders, audio, &ChannelLayout::default()).await {
            Ok(file) => file,
            Err(BadChunk::File(error)) => return Ok(Err(error.problem.to_string())),
            Err(other) => return Ok(Err(other.to_string())),
        };
        let (sender, pieces) = mpsc::channel(1);
        let predicted = self.predict_source(Source::Decoded(file.sample_rate_hz(), pieces));
        let (passed, predicted) = tokio::join!(pass_on(&mut file, sender), predicted);
        Ok(match passed {
            Ok(()) => predicted?,
            Err(error) => Err(error.problem.to_string()),
        })
    }

    /// Returns the mean prediction over the windows of a clip, or why the clip is skipped.
    async fn predict_source(&self, source: Source) -> Result<Result<Prediction, String>, EvaluationError> {
        let (windows, cut) = self.windows(source);
        let mean = self.mean_over(windows).await?;
        let cut = cut.await.unwrap_or_else(|_| Err("the front end panicked".to_owned()));
        Ok(cut.map(|()| mean))
    }

    /// Computes the windows of a clip on a blocking thread, few of them ahead of the model.
    fn windows(
        &self,
        source: Source,
    ) -> (mpsc::Receiver<Vec<f32>>, tokio::task::JoinHandle<Result<(), String>>) {
        let (setup, (back, spare)) = (self.setup.clone(), self.spare.clone());
        let (sender, windows) = mpsc::channel(WINDOWS_AHEAD);
        let cutting = tokio::task::spawn_blocking(move || {
            let mut front_end = spare.try_recv().unwrap_or_else(|_| ClipFrontEnd::new(&setup));
            // Fails where the evaluation was given up.
            let mut send = |features| sender.blocking_send(features).is_ok();
            let cut = match source {
                Source::Encoded(format, audio) => {
                    let (samples, rate_hz) = mixed_down(format, &audio)?;
                    front_end.cut(samples.chunks(rate_hz as usize), rate_hz, &mut send)
                }
                Source::Decoded(rate_hz, mut pieces) => {
                    front_end.cut(std::iter::from_fn(|| pieces.blocking_recv()), rate_hz, &mut send)
                }
            };
            // The channel is bounded; a front end that does not fit is dropped.
            let _ = back.try_send(front_end);
            cut
        });
        (windows, cutting)
    }

    /// Returns the mean of the predictions for all windows.
    async fn mean_over(&self, windows: mpsc::Receiver<Vec<f32>>) -> Result<Prediction, EngineError> {
        let mut mean = Prediction {
            scores: vec![0.0; self.contract.labels.len()],
            values: vec![0.0; self.contract.values.len()],
            out_of_domain: self.contract.out_of_domain.map(|_| 0.0),
        };
        let mut count = 0.0;
        let predictions = ReceiverStream::new(windows).map(|features| self.predict_window(features));
        let mut predictions = std::pin::pin!(predictions.buffered(WINDOWS_AHEAD));
        while let Some(prediction) = predictions.try_next().await? {
            count += 1.0;
            add(&mut mean.scores, prediction.scores);
            add(&mut mean.values, prediction.values);
            mean.out_of_domain =
                mean.out_of_domain.zip(prediction.out_of_domain).map(|(sum, score)| sum + score);
        }
        let sums = mean.scores.iter_mut().chain(&mut mean.values).chain(&mut mean.out_of_domain);
        sums.for_each(|sum| *sum /= count);
        Ok(mean)
    }

    async fn predict_window(&self, features: Vec<f32>) -> Result<Prediction, EngineError> {
        let (origin, reply) = ReplyOrigin::new();
        self.jobs.send(Job::new(features, origin.into())).await.map_err(|_| EngineError::Ended)?;
        reply.await.unwrap_or(Err(EngineError::Ended))
    }
}

/// The audio of a clip.
enum Source {
    /// Samples, or a file of the operator.
    Encoded(AudioFormat, Bytes),
    /// The sample rate in hertz of a file that is being decoded, and the mean of its channels in pieces.
    Decoded(u32, mpsc::Receiver<Vec<f32>>),
}

/// Passes the mean of a file's channels on, piece by piece, until the recipient needs no more.
async fn pass_on(file: &mut ClientFile, pieces: mpsc::Sender<Vec<f32>>) -> Result<(), FileError> {
    while let Some(piece) = file.next().await? {
        if pieces.send(mean_of_channels(&piece)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn add(sums: &mut [f32], row: Vec<f32>) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

/// Returns the number of clips of one evaluation that are processed concurrently: two for each core, so that decoding and
/// inference overlap.
pub(crate) fn clips_in_flight() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

impl ClipOutcome {
    /// Converts the outcome to the protocol's message; `labels` are the model's, in their order.
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
