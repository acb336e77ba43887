//! Records before they are encoded, and the model that their windows are for.
//!
//! Input: chunks. Output: records as a reader finds them, and the setup of streams.

use std::sync::Arc;
use std::time::Duration;

use affectd::config::{Config, Vad, VadMode};
use affectd::kafka::RawRecord;
use affectd::model::{Contract, Layout, Output, WindowShape};
use affectd::proto;
use affectd::stream::{Chunk, StreamSetup};
use prost::Message;
use rdkafka::message::OwnedHeaders;

use super::super::model_fixture;

/// A record before it is encoded.
#[derive(Debug, Clone)]
pub struct Input {
    pub stream_id: Arc<str>,
    pub chunk: Chunk,
    /// In ms.
    pub timestamp: i64,
}

impl Input {
    pub(super) fn record(&self) -> RawRecord {
        let Chunk { sequence, first_sample, format, audio, last } = self.chunk.clone();
        let chunk = proto::AudioChunk {
            stream_id: self.stream_id.to_string(),
            sequence,
            first_sample,
            format: format.and_then(affectd::audio::AudioFormat::to_proto),
            audio,
            last,
            ..proto::AudioChunk::default()
        };
        RawRecord {
            key: None,
            value: Some(chunk.encode_to_vec().into()),
            headers: OwnedHeaders::new(),
            timestamp: None,
        }
    }
}

/// Which windows are silent, and whether those give an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gating {
    Off,
    SilenceIsDropped,
    SilenceIsPublished,
}

/// The tiny model: 1 s every 0.5 s at 8 kHz.
pub(super) fn contract() -> Contract {
    model_fixture::contract(Layout::Ntc, Output::Logits)
}

pub fn setup(gating: Gating) -> StreamSetup {
    let (mut contract, config) = (contract(), Config::default());
    if gating != Gating::Off {
        // Voice activity is detected at 16 kHz alone.
        let window = WindowShape { length_samples: 16_000, hop_samples: 8_000 };
        contract =
            Contract { sample_rate_hz: 16_000, window, frames: Some(1 + (16_000 - 256) / 80), ..contract };
    }
    let min_length = Duration::from_millis(500);
    let window = affectd::config::Window { min_length, ..config.window };
    let mode = if gating == Gating::Off { VadMode::Off } else { VadMode::Gate };
    let vad = Vad { mode, publish_silence: gating == Gating::SilenceIsPublished, ..config.vad };
    StreamSetup::new(&contract, &window, &config.audio).unwrap().gated(&contract, &vad).unwrap()
}
