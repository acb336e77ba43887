//! The audit of the data before training.
//!
//! Input: the clips of each split, and the [`ClipProperties`] of each clip. Output: the usable clips, and an [`Audit`] with
//! the reason for each other one, see [`usable_clips`]. Invariants: the run ends with an error where too little usable data
//! is left.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;

pub use crate::datasets::audit::{Audit, ClipProperties, Finding, FindingKind, FrameLength, usable_clips};
use crate::datasets::{Clip, DatasetSplits};

use super::cache::{Cache, Entry};
use super::progress;

/// The share of unreadable clips above which the run ends with an error, because the whole dataset is then suspect.
const MAX_UNREADABLE: f64 = 0.05;

/// Decodes every clip in parallel with `probe`, excludes unusable clips, and adds the findings to `audit`.
///
/// # Errors
/// Returns an error with more than 5 % unreadable clips, with an empty split, with fewer than two training labels, and
/// where another split has a label that no training clip has.
pub fn audit(
    splits: DatasetSplits,
    protocol: &'static str,
    frame: FrameLength,
    audit: Audit,
    probe: impl Fn(&Path) -> Result<ClipProperties, String> + Sync,
) -> anyhow::Result<(DatasetSplits, Audit)> {
    let clips = splits.named().iter().map(|(_, clips)| clips.len()).sum();
    let bar = progress::bar(clips, "audit");
    let (splits, audit) = usable_clips(splits, frame, audit, |path| {
        let properties = probe(path);
        bar.inc(1);
        properties
    });
    bar.finish_and_clear();
    match check(&splits, protocol, &audit) {
        Ok(()) => Ok((splits, audit)),
        // The findings explain why too little data is left.
        Err(error) => {
            eprint!("{audit}");
            Err(error)
        }
    }
}

/// Returns the properties of a file, or the cached properties of the same bytes.
///
/// # Errors
/// Returns the reason where the file cannot be read or decoded.
pub fn clip_properties(path: &Path, cache: Option<&Cache>) -> Result<ClipProperties, String> {
    let Some(cache) = cache else { return ClipProperties::file(path) };
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    cache.get_or(&bytes, ClipProperties::bytes)
}

/// The stored form is JSON.
impl Entry for ClipProperties {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Checks that the remaining clips are sufficient for training.
fn check(splits: &DatasetSplits, protocol: &'static str, audit: &Audit) -> anyhow::Result<()> {
    check_unreadable(audit)?;
    splits.check(protocol)?;
    check_labels(splits)
}

fn check_unreadable(audit: &Audit) -> anyhow::Result<()> {
    let unreadable: Vec<&Finding> = audit.of(FindingKind::Unreadable).collect();
    if unreadable.len() as f64 <= MAX_UNREADABLE * audit.clips as f64 {
        return Ok(());
    }
    let (count, all, first) = (unreadable.len(), audit.clips, unreadable[0]);
    bail!(
        "{count} of {all} clips cannot be read, more than {} %; first: {}: {}",
        MAX_UNREADABLE * 100.0,
        first.clip,
        first.reason
    )
}

fn check_labels(splits: &DatasetSplits) -> anyhow::Result<()> {
    let labels = |clips: &[Clip]| clips.iter().map(|clip| clip.emotion.clone()).collect::<BTreeSet<_>>();
    let train = labels(&splits.train);
    if train.len() < 2 {
        let found = train.into_iter().collect::<Vec<_>>().join(", ");
        bail!("the training clips have only one label ({found}), and at least two are needed");
    }
    for (split, clips) in splits.named() {
        if let Some(label) = labels(clips).difference(&train).next() {
            let trained = train.iter().cloned().collect::<Vec<_>>().join(", ");
            bail!("the label {label} of the split {split} is on no training clip (they have {trained})");
        }
    }
    Ok(())
}
