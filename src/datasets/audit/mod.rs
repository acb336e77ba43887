//! The audit of the clips of a dataset, which training and evaluation share.
//!
//! Input: the clips of each split, and the [`ClipProperties`] of each clip. Output: the usable clips, and an [`Audit`] with
//! the reason for each other one. Invariants: the same clips are usable for training and for evaluation; no file is changed.

mod clip_properties;
mod findings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;
use uuid::Uuid;

use super::{Clip, DatasetSplits, Split};

pub use clip_properties::ClipProperties;
pub use findings::{Audit, Finding, FindingKind};

/// The peak below which a clip counts as silent: -60 dB relative to full scale.
const SILENCE_PEAK: f32 = 1e-3;
/// The share of clips below which their sample rate counts as unusual.
const ODD_RATE_SHARE: f64 = 0.05;

/// The length of one frame, which is the minimum length of a clip.
#[derive(Debug, Clone, Copy)]
pub struct FrameLength {
    /// The number of samples in one frame.
    pub length: usize,
    /// The sample rate of these samples, in Hz.
    pub sample_rate_hz: u32,
}

/// A clip with its split and its decoded properties, or the reason why it cannot be decoded.
type ProbedClip<'a> = (Split, &'a Clip, Result<ClipProperties, String>);

/// Decodes every clip in parallel with `probe`, excludes unusable clips, and adds the findings to `audit`.
pub fn usable_clips(
    splits: DatasetSplits,
    frame: FrameLength,
    mut audit: Audit,
    probe: impl Fn(&Path) -> Result<ClipProperties, String> + Sync,
) -> (DatasetSplits, Audit) {
    let clips: Vec<(Split, &Clip)> = splits
        .named()
        .into_iter()
        .flat_map(|(split, clips)| clips.iter().map(move |it| (split, it)))
        .collect();
    let probed: Vec<ProbedClip> =
        clips.into_par_iter().map(|(split, clip)| (split, clip, probe(&clip.path))).collect();
    audit.clips += probed.len();
    audit.findings.extend(probed.iter().filter_map(|probed| single_clip_finding(probed, frame)));
    audit.findings.extend(odd_rates(&probed));
    audit.findings.extend(duplicates(&probed));
    drop(probed);
    (without(splits, &audit), audit)
}

/// Returns the finding about a clip by itself, if any.
fn single_clip_finding((split, clip, properties): &ProbedClip, frame: FrameLength) -> Option<Finding> {
    let finding = |kind, reason| Some(Finding::new(kind, clip, *split, reason));
    let properties = match properties {
        Err(reason) => return finding(FindingKind::Unreadable, reason.clone()),
        Ok(properties) => properties,
    };
    let needed = frame.length as f64 / f64::from(frame.sample_rate_hz);
    if properties.seconds < needed {
        let reason = format!("{:.1} ms, one frame has {:.1}", properties.seconds * 1e3, needed * 1e3);
        return finding(FindingKind::TooShort, reason);
    }
    if properties.peak == 0.0 {
        return finding(FindingKind::Silent, "every sample is zero".to_owned());
    }
    let decibels = 20.0 * properties.peak.log10();
    (properties.peak < SILENCE_PEAK)
        .then(|| finding(FindingKind::Silent, format!("peak at {decibels:.0} dB")))
        .flatten()
}

/// Returns the clips with an unusual sample rate. They are kept and resampled like all others.
fn odd_rates(probed: &[ProbedClip]) -> Vec<Finding> {
    let readable = || {
        probed.iter().filter_map(|(split, clip, properties)| Some((split, clip, properties.as_ref().ok()?)))
    };
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    readable().for_each(|(.., properties)| *counts.entry(properties.sample_rate_hz).or_default() += 1);
    let most = counts.iter().max_by_key(|(_, count)| **count).map_or(0, |(rate, _)| *rate);
    let limit = ODD_RATE_SHARE * readable().count() as f64;
    readable()
        .filter(|(.., properties)| {
            properties.sample_rate_hz != most && (counts[&properties.sample_rate_hz] as f64) < limit
        })
        .map(|(split, clip, properties)| {
            let reason = format!("{} Hz, most clips have {most} Hz", properties.sample_rate_hz);
            Finding::new(FindingKind::OddSampleRate, clip, *split, reason)
        })
        .collect()
}

/// Returns the clips with identical samples. Under different labels none of them can be trusted; under one label in two
/// splits they leak test data into training, which raises the scores.
fn duplicates(probed: &[ProbedClip]) -> Vec<Finding> {
    let mut groups: HashMap<Uuid, Vec<(Split, &Clip)>> = HashMap::new();
    for (split, clip, properties) in probed {
        if let Some(properties) = properties.as_ref().ok().filter(|properties| properties.peak > 0.0) {
            groups.entry(properties.content).or_default().push((*split, clip));
        }
    }
    let mut findings: Vec<Finding> =
        groups.into_values().flat_map(|group| duplicate_findings(&group)).collect();
    findings.sort_by(|a, b| (a.kind, &a.clip).cmp(&(b.kind, &b.clip)));
    findings
}

fn duplicate_findings(group: &[(Split, &Clip)]) -> Vec<Finding> {
    let labels: BTreeSet<&str> = group.iter().map(|(_, clip)| clip.emotion.as_str()).collect();
    let splits = group.iter().filter(|(split, _)| *split != group[0].0).count();
    let kind = match (labels.len(), splits) {
        (2.., _) => FindingKind::ContradictoryLabels,
        (_, 1..) => FindingKind::DuplicateAcrossSplits,
        _ => return Vec::new(),
    };
    let finding = |at: usize| {
        let (split, clip) = group[at];
        let (other_split, other) = group[if at == 0 { 1 } else { 0 }];
        let reason = format!(
            "{}, same sound as {} ({}, {other_split})",
            clip.emotion,
            other.path.display(),
            other.emotion
        );
        Finding::new(kind, clip, split, reason)
    };
    (0..group.len()).map(finding).collect()
}

/// Removes the clips that the audit excludes.
fn without(mut splits: DatasetSplits, audit: &Audit) -> DatasetSplits {
    let left_out: HashSet<&str> = audit.left_out().map(|finding| finding.clip.as_str()).collect();
    for part in [&mut splits.train, &mut splits.validation, &mut splits.test] {
        part.retain(|clip| !left_out.contains(clip.path.display().to_string().as_str()));
    }
    splits
}
