//! Sources of audio as metrics label them, and what is counted for each.
//!
//! Input: chunks that a stream accepted, chunks and streams that were refused. Output: the series with the label `source`. Invariant: a source
//! brings its own counter along, so the number of sources is not fixed here; a transport declares its own with [`Source::new`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, histogram};

use super::metrics::{
    AUDIO_SECONDS_TOTAL, CHUNKS_TOTAL, FEATURE_SECONDS, INGEST_DROPPED_SECONDS_TOTAL, REJECTED_TOTAL,
};

/// A source of audio: a transport or a message system. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    name: &'static str,
    /// Microseconds of audio that were accepted, of all streams of the source.
    audio_microseconds: &'static AtomicU64,
}

impl Source {
    /// Calls of the gRPC service.
    pub const GRPC: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("grpc", &MICROSECONDS)
    };

    /// Records of the Kafka input topic.
    pub const KAFKA: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("kafka", &MICROSECONDS)
    };

    /// Recordings that are posted over HTTP.
    pub const HTTP: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("http", &MICROSECONDS)
    };

    /// Raw audio over WebSocket.
    pub const WEBSOCKET: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("websocket", &MICROSECONDS)
    };

    /// Twilio Media Streams, and those like it.
    pub const TWILIO: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("twilio", &MICROSECONDS)
    };

    /// Sessions of Genesys AudioHook.
    pub const AUDIOHOOK: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("audiohook", &MICROSECONDS)
    };

    /// Connections of Asterisk AudioSocket.
    pub const AUDIOSOCKET: Self = {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        Self::new("audiosocket", &MICROSECONDS)
    };

    /// Names of the sources whose series exist, as zeros, before the first chunk.
    pub const KNOWN: &[&str] = &[
        Self::AUDIOHOOK.name,
        Self::AUDIOSOCKET.name,
        Self::GRPC.name,
        Self::HTTP.name,
        Self::KAFKA.name,
        Self::TWILIO.name,
        Self::WEBSOCKET.name,
    ];

    /// Names of the sources that drop audio where the engine does not keep up.
    pub const LIVE: &[&str] =
        &[Self::AUDIOHOOK.name, Self::AUDIOSOCKET.name, Self::TWILIO.name, Self::WEBSOCKET.name];

    /// A source with the label `name`, whose accepted audio `audio_microseconds` adds up. No two sources may share either.
    #[must_use]
    pub const fn new(name: &'static str, audio_microseconds: &'static AtomicU64) -> Self {
        Self { name, audio_microseconds }
    }

    /// The value of the label `source`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// Counts the chunks of one stream. The series are looked up once, since every stream counts several chunks a second.
#[derive(Debug, Clone)]
pub struct ChunkMeter {
    source: Source,
    chunks: metrics::Counter,
    audio_seconds: metrics::Counter,
    feature_seconds: metrics::Histogram,
}

impl ChunkMeter {
    /// A meter for a stream of `source`.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            chunks: counter!(CHUNKS_TOTAL, "source" => source.name),
            audio_seconds: counter!(AUDIO_SECONDS_TOTAL, "source" => source.name),
            feature_seconds: histogram!(FEATURE_SECONDS),
        }
    }

    /// Counts an accepted chunk.
    pub fn chunk(&self) {
        self.chunks.increment(1);
    }

    /// Counts accepted audio, whose features took `features` to compute.
    ///
    /// Counters hold whole numbers. The microseconds of all streams of the source are added up, and the counter rises whenever the sum passes
    /// a full second. A sum for each stream would lose up to a second at the end of every stream.
    pub fn audio(&self, audio: Duration, features: Duration) {
        let added = u64::try_from(audio.as_micros()).unwrap_or(u64::MAX / 2);
        let before = self.source.audio_microseconds.fetch_add(added, Ordering::Relaxed);
        self.audio_seconds.increment((before + added) / 1_000_000 - before / 1_000_000);
        self.feature_seconds.record(features);
    }
}

/// Counts audio that a call dropped because the engine did not keep up. As with accepted audio, the counter rises by whole seconds of all
/// calls of the source together.
pub fn ingest_dropped(source: Source, dropped: Duration) {
    static MICROSECONDS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());
    let added = u64::try_from(dropped.as_micros()).unwrap_or(u64::MAX / 2);
    let mut sums = MICROSECONDS.lock().unwrap_or_else(PoisonError::into_inner);
    let sum = sums.entry(source.name).or_default();
    let before = std::mem::replace(sum, sum.saturating_add(added));
    let seconds = *sum / 1_000_000 - before / 1_000_000;
    counter!(INGEST_DROPPED_SECONDS_TOTAL, "source" => source.name).increment(seconds);
}

/// Counts a chunk or a stream that was refused for `reason`.
pub fn rejected(source: Source, reason: &'static str) {
    counter!(REJECTED_TOTAL, "source" => source.name, "reason" => reason).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_another_transport_counts_by_itself() {
        static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
        let websocket = Source::new("other", &MICROSECONDS);
        let meter = ChunkMeter::new(websocket);
        (0..3).for_each(|_| meter.audio(Duration::from_millis(400), Duration::ZERO));
        assert_eq!(websocket.name(), "other");
        assert_eq!(MICROSECONDS.load(Ordering::Relaxed), 1_200_000);
        assert_eq!(
            Source::KNOWN,
            ["audiohook", "audiosocket", "grpc", "http", "kafka", "twilio", "websocket"]
        );
    }
}
