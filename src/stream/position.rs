//! The position of a stream between two chunks, and the state that another reader needs to continue from it.
//!
//! Output: plain values.
//! Invariants: positions are absolute source samples of one channel.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::SplitFrame;
use crate::audio::AudioFormat;
use crate::window::WindowSpan;

/// Audio that is missing between the chunks of a stream: a chunk declares a later first sample than the one that follows its predecessor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingAudio {
    /// Places where audio is missing.
    pub holes: u64,
    /// Length of all of them in samples of one channel.
    pub samples: u64,
}

impl MissingAudio {
    /// Adds a hole; one without a sample is none.
    pub(super) fn add(&mut self, samples: u64) {
        self.holes += u64::from(samples > 0);
        self.samples = self.samples.saturating_add(samples);
    }

    /// Returns whether no audio is missing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.holes == 0
    }
}

/// The position of a stream between two chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPosition {
    /// Index of the sample at which the next chunk begins, unless the chunk declares another one.
    pub position: u64,
    /// Sequence number of the last chunk accepted.
    pub sequence: Option<u64>,
    /// The bytes of a sample frame that the last chunk left incomplete.
    pub split: SplitFrame,
    /// What is missing before the position.
    pub missing: MissingAudio,
    /// Index of the first window of the open segment; `None` where no segment is open.
    pub first_window: Option<u64>,
    /// Whether [`super::StreamFrontEnd::end`] would have an effect: a segment is open, or a file is
    /// incomplete.
    pub open: bool,
    /// The first source sample that a later window depends on. Chunks that end at or before it are no longer
    /// needed.
    pub needed_from: u64,
    /// Index of the next window of each channel.
    pub next_windows: Vec<u64>,
    /// Length and hop of the windows that the indexes count.
    pub span: WindowSpan,
}

impl StreamPosition {
    /// Returns whether the stream is in the middle of a file, which is decoded once its last byte has come.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        self.open && self.first_window.is_none()
    }
}

/// The state that a reader needs to continue a stream that another reader left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// `None` where the stream had no audio yet.
    pub at: Option<ResumePoint>,
    /// Positions at which a segment was ended because the stream was idle, ascending. They were decided by
    /// wall-clock time, so a reader must repeat them instead of deciding again.
    pub idle_ends: VecDeque<u64>,
    /// The windows that were published although the stream is read from its first chunk; only where `at` is `None`.
    pub published: Option<PublishedWindows>,
}

impl Resume {
    /// Returns whether the stream was there before its next chunk, so that it stays open even if that chunk is refused.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.at.is_some() || !self.idle_ends.is_empty()
    }
}

/// Windows that another reader published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedWindows {
    /// Index of the first window of each channel that was not published.
    pub next_windows: Vec<u64>,
    /// Length and hop of the windows that the indexes count. They do not apply to windows of another span.
    pub span: WindowSpan,
}

/// The state in the middle of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// The format of the stream.
    pub format: AudioFormat,
    /// See [`StreamPosition::position`].
    pub position: u64,
    /// See [`StreamPosition::sequence`].
    pub sequence: Option<u64>,
    /// See [`StreamPosition::split`].
    pub split: SplitFrame,
    /// See [`StreamPosition::missing`].
    pub missing: MissingAudio,
    /// See [`StreamPosition::first_window`].
    pub first_window: Option<u64>,
    /// See [`StreamPosition::next_windows`].
    pub next_windows: Vec<u64>,
    /// Length and hop of the windows that the indexes count. Where the reader cuts windows of another span,
    /// it begins a new segment.
    pub span: WindowSpan,
}
