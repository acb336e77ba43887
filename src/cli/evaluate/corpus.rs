//! The usable clips of a corpus.
//!
//! Input: the clips of datasets, and a split. Output: the clips whose sound can be scored; stderr lists the others with the reason.

use indicatif::{ProgressBar, ProgressStyle};

use crate::datasets::audit::{self, Audit, ClipProperties, FrameLength};
use crate::datasets::{Clip, DatasetSplits, Pool, Protocol, Split};

/// The evaluator itself skips clips that are too short for its model, which may be on a server, and counts them.
const ANY_LENGTH: FrameLength = FrameLength { length: 1, sample_rate_hz: 16_000 };

/// Returns the usable clips of a split, and prints to stderr which ones are left out. They are those that training
/// leaves out, so the clips of the other splits are decoded too: a clip is not usable where its sound occurs anywhere under
/// another label.
///
/// # Errors
/// Returns an error where the split cannot be made or holds no usable clip.
pub fn usable(pool: Pool, split: Split, protocol: &Protocol) -> anyhow::Result<Vec<Clip>> {
    let found = Audit::of_pool(&pool);
    let splits = match split {
        Split::All => DatasetSplits { train: pool.all(), ..DatasetSplits::default() },
        _ => pool.divide(protocol)?,
    };
    let clips = splits.named().iter().map(|(_, clips)| clips.len()).sum::<usize>();
    let progress = progress(clips as u64)?;
    let (splits, audit) = audit::usable_clips(splits, ANY_LENGTH, found, |path| {
        let properties = ClipProperties::file(path);
        progress.inc(1);
        properties
    });
    progress.finish_and_clear();
    eprint!("{audit}");
    let clips = splits.into_split(split);
    anyhow::ensure!(!clips.is_empty(), "no clip can be scored: all {} are left out", audit.clips);
    Ok(clips)
}

/// Creates a progress bar on stderr. indicatif draws only where stderr is a terminal.
pub fn progress(clips: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} clips, {eta} left")?;
    Ok(ProgressBar::new(clips).with_style(style))
}
