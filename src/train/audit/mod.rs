//! What is wrong with the data, found before anything is learnt from it.
//!
//! In: clips in their parts, and what each [`ClipProperties`] clip sounds like. Out: the clips that can be used, and an [`Audit`]
//! of all others, each with the reason. Stops where what is left is no data to train on. Never changes a file.

mod findings;
mod heard;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use anyhow::bail;
use rayon::prelude::*;
use uuid::Uuid;

use super::progress;
use crate::evaluation::datasets::{Clip, DatasetSplits, Split};

pub use findings::{Audit, Finding, FindingKind};
pub use heard::ClipProperties;

/// More unreadable clips than this share of all stop the run: something is wrong with the whole set.
const MAX_UNREADABLE: f64 = 0.05;
/// A clip whose highest sample is below this holds no speech: -60 dB of full scale.
const SILENCE_PEAK: f32 = 1e-3;
/// A sample rate that fewer than this share of the clips have is worth a line.
const ODD_RATE_SHARE: f64 = 0.05;

/// What a clip has to be long enough for.
#[derive(Debug, Clone, Copy)]
pub struct FrameLength {
    /// Samples of one frame.
    pub length: usize,
    /// At this rate.
    pub sample_rate_hz: u32,
}

/// A clip with its split and its decoded properties, or the reason why it cannot be decoded.
type ProbedClip<'a> = (Split, &'a Clip, Result<ClipProperties, String>);

/// Listens to every clip in parallel, leaves out what cannot be used, and adds to the audit what was found.
///
/// # Errors
/// More than 5 % unreadable clips, a part that is left empty, and fewer than two emotions to learn.
pub fn audit(
    partition: DatasetSplits,
    protocol: &'static str,
    frame: FrameLength,
    mut audit: Audit,
    probe: impl Fn(&Path) -> Result<ClipProperties, String> + Sync,
) -> anyhow::Result<(DatasetSplits, Audit)> {
    let clips: Vec<(Split, &Clip)> = partition
        .parts()
        .into_iter()
        .flat_map(|(split, clips)| clips.iter().map(move |it| (split, it)))
        .collect();
    let bar = progress::bar(clips.len(), "audit");
    let probed: Vec<ProbedClip> = clips
        .into_par_iter()
        .map(|(split, clip)| {
            let properties = probe(&clip.path);
            bar.inc(1);
            (split, clip, properties)
        })
        .collect();
    bar.finish_and_clear();
    audit.clips = probed.len();
    audit.findings.extend(probed.iter().filter_map(|probed| alone(probed, frame)));
    audit.findings.extend(odd_rates(&probed));
    audit.findings.extend(same_sound(&probed));
    drop(probed);
    let partition = without(partition, &audit);
    match check(&partition, protocol, &audit) {
        Ok(()) => Ok((partition, audit)),
        // Why so little is left stands in what was found.
        Err(error) => {
            eprint!("{audit}");
            Err(error)
        }
    }
}

/// Whether what is left can be trained on.
fn check(partition: &DatasetSplits, protocol: &'static str, audit: &Audit) -> anyhow::Result<()> {
    check_unreadable(audit)?;
    partition.check(protocol)?;
    check_labels(partition)
}

/// What is wrong with a clip by itself.
fn alone((split, clip, properties): &ProbedClip, frame: FrameLength) -> Option<Finding> {
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

/// Clips at a rate that few others have. They are resampled as all are.
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

/// Clips that sound alike to the bit: under different labels none can be believed; under one label in two parts they
/// flatter the figures.
fn same_sound(probed: &[ProbedClip]) -> Vec<Finding> {
    let mut groups: HashMap<Uuid, Vec<(Split, &Clip)>> = HashMap::new();
    for (split, clip, properties) in probed {
        if let Some(properties) = properties.as_ref().ok().filter(|properties| properties.peak > 0.0) {
            groups.entry(properties.content).or_default().push((*split, clip));
        }
    }
    let mut findings: Vec<Finding> = groups.into_values().flat_map(|group| alike(&group)).collect();
    findings.sort_by(|a, b| (a.kind, &a.clip).cmp(&(b.kind, &b.clip)));
    findings
}

fn alike(group: &[(Split, &Clip)]) -> Vec<Finding> {
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

fn without(mut partition: DatasetSplits, audit: &Audit) -> DatasetSplits {
    let left_out: HashSet<&str> = audit.left_out().map(|finding| finding.clip.as_str()).collect();
    for part in [&mut partition.train, &mut partition.validation, &mut partition.test] {
        part.retain(|clip| !left_out.contains(clip.path.display().to_string().as_str()));
    }
    partition
}

fn check_unreadable(audit: &Audit) -> anyhow::Result<()> {
    let unreadable: Vec<&Finding> = audit.of(FindingKind::Unreadable).collect();
    if unreadable.len() as f64 <= MAX_UNREADABLE * audit.clips as f64 {
        return Ok(());
    }
    let (count, all, first) = (unreadable.len(), audit.clips, unreadable[0]);
    bail!(
        "{count} of {all} clips cannot be read, more than {} %; the first one: {}: {}",
        MAX_UNREADABLE * 100.0,
        first.clip,
        first.reason
    )
}

fn check_labels(partition: &DatasetSplits) -> anyhow::Result<()> {
    let labels = |clips: &[Clip]| clips.iter().map(|clip| clip.emotion.clone()).collect::<BTreeSet<_>>();
    let train = labels(&partition.train);
    if train.len() < 2 {
        let found = train.into_iter().collect::<Vec<_>>().join(", ");
        bail!("the training clips have one label alone ({found}), and at least two are needed");
    }
    for (split, clips) in partition.parts() {
        if let Some(label) = labels(clips).difference(&train).next() {
            let trained = train.iter().cloned().collect::<Vec<_>>().join(", ");
            bail!("the label {label} of the split {split} is on no training clip (they have {trained})");
        }
    }
    Ok(())
}
