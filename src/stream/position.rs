//! Where a stream stands, and what another reader needs to go on from there.
//!
//! In: nothing. Out: plain values. Invariant: positions are absolute source samples of one channel.

use std::collections::VecDeque;

use crate::audio::AudioFormat;
use crate::window::WindowSpan;

/// Where a stream stands between two chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The sample at which the next chunk begins, unless it says otherwise.
    pub position: u64,
    /// Sequence of the last chunk accepted.
    pub sequence: Option<u64>,
    /// First window of the open stretch; `None` after an idle end or before any audio.
    pub first_window: Option<u64>,
    /// Whether an end would change anything: a stretch is open, or a file not whole yet.
    pub open: bool,
    /// First source sample that a later window needs.
    pub needed_from: u64,
    /// The next window that each channel will give.
    pub next_windows: Vec<u64>,
    /// What those numbers count.
    pub span: WindowSpan,
}

/// All that a reader needs to go on where another one stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// `None` where the stream had not begun.
    pub at: Option<ResumePoint>,
    /// Positions at which the stretch ended by wall time, ascending.
    pub idle_ends: VecDeque<u64>,
}

/// The middle of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// The stream's format.
    pub format: AudioFormat,
    /// As in [`Place`].
    pub position: u64,
    /// As in [`Place`].
    pub sequence: Option<u64>,
    /// As in [`Place`].
    pub first_window: Option<u64>,
    /// The next window that each channel owes.
    pub next_windows: Vec<u64>,
    /// What those numbers count. Where it is not what the reader cuts, a new stretch begins.
    pub span: WindowSpan,
}
