//! One stream of audio: from chunks to windows.
//!
//! In data order: `chunk` is the input, [`StreamFrontEnd`] follows one stream and its position (`raw_samples` and `file_samples` are the two kinds of audio), `segment` is a part of it without a long gap and
//! gives the windows. `info` and `ticket` are plain values that travel with a stream's windows.
//!
//! Invariants: everything here is pure, without clock, channel or I/O. The windows of a stream depend on its audio only, never on how it was
//! divided into chunks.

mod alert_state;
mod bounds;
mod call;
mod channel_state;
mod channel_totals;
mod chunk;
mod collected_file;
mod file_samples;
mod front_end;
mod id_namespace;
mod info;
mod logit_statistics;
mod memory;
mod out_of_domain;
mod position;
mod raw_samples;
mod recent_scores;
mod segment;
mod sequence;
mod split_frame;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

pub use alert_state::{AlertState, AlertWindow, AudioMark, RuleState, Run};
pub use bounds::{InputBounds, OutOfBounds, check_captured_at, check_chunk};
pub use call::{EndReason, StreamCall, Summaries};
pub use channel_state::{ChannelState, ChannelStates};
pub use channel_totals::{ChannelTotals, CountedWindow, LoudnessTotals};
pub use chunk::{BadChunk, Chunk, ChunkOutcome, FURTHEST_SAMPLE};
pub use collected_file::CollectedFile;
pub use front_end::StreamFrontEnd;
pub use id_namespace::ID_NAMESPACE;
pub use info::{Declared, StreamInfo};
pub use logit_statistics::LogitStatistics;
pub use memory::{MemoryBudget, MemoryReservation, OutOfMemory};
pub use out_of_domain::OutOfDomainState;
pub use position::{MissingAudio, PublishedWindows, Resume, ResumePoint, StreamPosition};
pub use recent_scores::RecentScores;
pub use sequence::{LastSequence, SequenceCheck};
pub use split_frame::SplitFrame;
pub use ticket::{Assignment, DeadLetterTicket, EpochPosition, RESUMED, SUMMARY_CHANNEL, Ticket};

use crate::audio::AudioFormat;
use crate::audio::{self, ChannelLayout, FileAsSamples, Planar, ResamplerPlan};
use crate::features::{FrameKind, FrontEnd, OptionsError};
use crate::model::{Contract, Input};
use crate::vad::{self, Gate, MeterScratch, SpeechCounter};
use crate::window::{self, ChannelScratch, FrameScratch, GeometryError, WindowGeometry};

/// Why windows cannot be cut for a model. The operator must correct it, not the sender.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The windows cannot be placed.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Voice activity detection does not support the sample rate of the model.
    #[error(
        "use vad.mode = \"gate\" with model {model} at {rate_hz} Hz: allowed is a model at {} Hz, or \"off\" or \"digital-silence\"",
        vad::SAMPLE_RATE_HZ
    )]
    VoiceActivity {
        /// The name of the model.
        model: String,
        /// The sample rate of the model, in hertz.
        rate_hz: u32,
    },
    /// The MFCC options are not allowed.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// What all streams of one model share: geometry, feature tables and limits. Clones share the tables.
#[derive(Debug, Clone)]
pub struct StreamSetup {
    /// The windows of the model.
    pub geometry: WindowGeometry,
    /// The features of the model; `None` where it takes samples.
    pub front_end: Option<FrontEnd>,
    /// Decides which windows are silent; without a gate no window is.
    pub gate: Option<Gate>,
    /// The longest gap in `first_sample` that is filled with silence. A longer one ends the segment.
    pub max_gap: Duration,
    /// The largest chunk of raw samples, in bytes.
    pub max_chunk_bytes: usize,
    /// The largest file, in bytes, in one chunk or spread over several.
    pub max_file_bytes: usize,
    /// The longest duration of a file.
    pub max_file_duration: Duration,
    /// What is done with the header of an audio file in a stream that is declared as raw samples.
    pub file_as_samples: FileAsSamples,
    /// The channel policy and the names of the channels.
    pub channels: ChannelLayout,
    /// The bounds of what a stream declares.
    pub bounds: InputBounds,
    /// Which streams a summary is made of (`calls.summaries`).
    pub summaries: Summaries,
    /// Whether windows are measured for the summary of the stream's call. False until the stream is known.
    pub measured: bool,
}

impl StreamSetup {
    /// Creates the setup of a model under a configuration, without a gate.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        contract: &Contract,
        window: &window::Options,
        audio: &audio::Options,
    ) -> Result<Self, SetupError> {
        let geometry = WindowGeometry::new(contract, window)?;
        let kind = match contract.input {
            Input::Mfcc => Some(FrameKind::Mfcc),
            Input::LogMel => Some(FrameKind::LogMel),
            Input::Waveform => None,
        };
        let options = contract.mfcc.as_ref();
        let front_end =
            kind.zip(options).map(|(kind, options)| FrontEnd::new(options, contract.sample_rate_hz, kind));
        Ok(Self {
            geometry,
            front_end: front_end.transpose()?,
            gate: None,
            max_gap: audio.max_gap,
            max_chunk_bytes: audio.max_chunk_bytes,
            max_file_bytes: audio.max_file_bytes,
            max_file_duration: audio.max_file_duration,
            file_as_samples: audio.file_as_samples,
            channels: ChannelLayout { policy: audio.channels, names: Vec::new() },
            bounds: InputBounds::default(),
            summaries: Summaries::Off,
            measured: false,
        })
    }

    /// Adds the gate that is configured. Evaluation and training do not call this, because they need every
    /// window.
    ///
    /// # Errors
    /// [`SetupError::VoiceActivity`] where the sample rate of the model is not supported.
    pub fn gated(self, contract: &Contract, vad: &vad::Options) -> Result<Self, SetupError> {
        let refused = |rate_hz| SetupError::VoiceActivity { model: contract.name.clone(), rate_hz };
        let gate = Gate::new(vad, &self.geometry).map_err(refused)?;
        Ok(Self { gate, ..self })
    }

    /// Returns the name of the file format whose header stands at the beginning of `audio`, the first bytes of a
    /// stream that is declared as raw samples.
    ///
    /// # Errors
    /// [`BadChunk::FileAsSamples`] where the configuration refuses such a stream.
    pub fn file_header(&self, audio: &[u8]) -> Result<Option<&'static str>, BadChunk> {
        match audio::file_header(audio) {
            Some(file) if self.file_as_samples == FileAsSamples::Refuse => {
                Err(BadChunk::FileAsSamples { file })
            }
            found => Ok(found),
        }
    }

    /// Checks that a chunk of a stream that is read as `was` declares the same format or none. A stream of samples
    /// that is decoded as a file may go on declaring samples.
    ///
    /// # Errors
    /// [`BadChunk::FormatChanged`]
    pub fn check_format(&self, was: AudioFormat, declared: Option<AudioFormat>) -> Result<(), BadChunk> {
        if was.is_file() && self.file_as_samples == FileAsSamples::Decode {
            return Ok(());
        }
        BadChunk::check_format(was, declared)
    }

    /// Returns whether silent windows produce an event.
    #[must_use]
    pub fn publishes_silence(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.publish_silence)
    }

    /// Returns the setup of one stream, which may select a channel policy and name its channels.
    #[must_use]
    pub fn for_stream(&self, info: &StreamInfo) -> Self {
        let policy = info.channels.unwrap_or(self.channels.policy);
        let channels = ChannelLayout { policy, names: info.channel_names.clone() };
        Self { channels, measured: self.summaries.include(info), ..self.clone() }
    }

    /// Creates the scratch of one thread.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        let geometry = self.geometry.clone();
        Scratch {
            channel: match &self.front_end {
                Some(front_end) => {
                    ChannelScratch::Frames(Box::new(FrameScratch::new(geometry, front_end.clone())))
                }
                None => ChannelScratch::Samples(geometry),
            },
            plans: Vec::new(),
            planar: Planar::new(),
            resampled: Vec::new(),
            speech: SpeechCounter::default(),
            meter: MeterScratch::default(),
        }
    }
}

/// The buffers and tables of one thread. All streams of the thread use it, one after the other, so that the
/// memory of a stream is only its own state.
#[derive(Debug)]
pub struct Scratch {
    /// The tables and buffers of the windowers.
    channel: ChannelScratch,
    /// Resampling tables by source rate in hertz.
    plans: Vec<(u32, Arc<ResamplerPlan>)>,
    /// The samples of a chunk, one buffer per channel.
    planar: Planar,
    /// The samples of one channel at the model's rate.
    resampled: Vec<f32>,
    /// The detector of speech.
    speech: SpeechCounter,
    /// What measures windows for summaries of calls.
    meter: MeterScratch,
}

impl Scratch {
    /// Returns the tables from `source_rate_hz` to the model's rate, built on first use.
    fn plan(&mut self, source_rate_hz: u32) -> Arc<ResamplerPlan> {
        if let Some((_, plan)) = self.plans.iter().find(|(rate, _)| *rate == source_rate_hz) {
            return plan.clone();
        }
        let plan = Arc::new(ResamplerPlan::new(source_rate_hz, self.channel.geometry().sample_rate_hz));
        self.plans.push((source_rate_hz, plan.clone()));
        plan
    }
}
