//! Streams: where each chunk lies, which windows it completes, and the threads that own this state.
//!
//! `geometry` (arithmetic) → `windower` (one channel) → `stretch` → `front_end` (one stream) → `open_stream`
//! (with its owner) → `shard` (the thread that owns many).
//! All but the shard are pure: no clock, no channel, no I/O.

mod channel_state;
mod chunk;
mod collected_file;
mod front_end;
mod info;
mod position;
mod recent_scores;
mod segment;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

pub use channel_state::{ChannelState, ChannelStates};
pub use chunk::{BadChunk, Chunk, FURTHEST_SAMPLE, Outcome};
pub use collected_file::CollectedFile;
pub use front_end::StreamFrontEnd;
pub use info::StreamInfo;
pub use position::{Place, Resume, ResumePoint};
pub use recent_scores::RecentScores;
pub use ticket::{Assignment, DeadLetterTicket, EpochPosition, RESUMED, Ticket};

use crate::audio::{ChannelLayout, Planar, ResamplerPlan};
use crate::config;
use crate::features::{FrameKind, FrontEnd, OptionsError};
use crate::model::{Contract, Input};
use crate::vad::{self, Gate};
use crate::window::{ChannelTools, GeometryError, Tools, WindowGeometry};

/// Why windows cannot be cut for a model. Ours to mend, not the sender's.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Windows cannot be placed.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Speech cannot be told at the model's rate.
    #[error(
        "use vad.mode = \"gate\" with model {model} at {rate_hz} Hz: allowed is a model at {} Hz, or \"off\"",
        vad::SAMPLE_RATE_HZ
    )]
    VoiceActivity {
        /// The model's name.
        model: String,
        /// Its sample rate.
        rate_hz: u32,
    },
    /// The front end's options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// What all streams of one model share: geometry, feature tables, limits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StreamSetup {
    /// Where windows lie.
    pub geometry: WindowGeometry,
    /// The model's features; `None` where it takes the samples themselves.
    pub front_end: Option<FrontEnd>,
    /// Which windows are silent; `None` where none is.
    pub gate: Option<Gate>,
    /// The longest jump of `first_sample` that becomes silence.
    pub max_gap: Duration,
    /// The largest chunk of raw samples.
    pub max_chunk_bytes: usize,
    /// The largest file, whole or spread over chunks.
    pub max_file_bytes: usize,
    /// What is done with the channels of a stream.
    pub channels: ChannelLayout,
}

impl StreamSetup {
    /// The setup for a model under a configuration.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        contract: &Contract,
        window: &config::Window,
        audio: &config::Audio,
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
            channels: ChannelLayout { policy: audio.channels, names: Vec::new() },
        })
    }

    /// The same for streams: with the gate that is configured. Whatever must see every window leaves it out.
    ///
    /// # Errors
    /// [`SetupError::VoiceActivity`].
    pub fn gated(self, contract: &Contract, vad: &config::Vad) -> Result<Self, SetupError> {
        let refused = |rate_hz| SetupError::VoiceActivity { model: contract.name.clone(), rate_hz };
        let gate = Gate::new(vad, &self.geometry).map_err(refused)?;
        Ok(Self { gate, ..self })
    }

    /// Whether silent windows give an event.
    #[must_use]
    pub fn publishes_silence(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.publish_silence)
    }

    /// The setup of one stream, which may say what is done with its channels.
    #[must_use]
    pub fn for_stream(&self, info: &StreamInfo) -> Self {
        let policy = info.channels.unwrap_or(self.channels.policy);
        let channels = ChannelLayout { policy, names: info.channel_names.clone() };
        Self { channels, ..self.clone() }
    }

    /// The scratch of one thread.
    #[must_use]
    pub fn workbench(&self) -> Workbench {
        let geometry = self.geometry.clone();
        Workbench {
            tools: match &self.front_end {
                Some(front_end) => ChannelTools::Frames(Box::new(Tools::new(geometry, front_end.clone()))),
                None => ChannelTools::Samples(geometry),
            },
            plans: Vec::new(),
            planar: Planar::new(),
            resampled: Vec::new(),
        }
    }
}

/// The scratch of one thread: every stream that the thread owns computes with it, one after the other.
#[derive(Debug)]
pub struct Workbench {
    tools: ChannelTools,
    /// Resampling tables by source rate.
    plans: Vec<(u32, Arc<ResamplerPlan>)>,
    /// A chunk's samples, channel by channel.
    planar: Planar,
    resampled: Vec<f32>,
}

impl Workbench {
    /// The tables from `source_rate_hz` to the model's rate, made on first use.
    fn plan(&mut self, source_rate_hz: u32) -> Arc<ResamplerPlan> {
        if let Some((_, plan)) = self.plans.iter().find(|(rate, _)| *rate == source_rate_hz) {
            return plan.clone();
        }
        let plan = Arc::new(ResamplerPlan::new(source_rate_hz, self.tools.geometry().sample_rate_hz));
        self.plans.push((source_rate_hz, plan.clone()));
        plan
    }
}
