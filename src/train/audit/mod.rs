//! What is wrong with the data, found before anything is learnt from it.
//!
//! In: clips in their parts, and what each [`Heard`] clip sounds like. Out: the clips that can be used, and an [`Audit`]
//! of all others, each with the reason. Stops where what is left is no data to train on. Never changes a file.

mod findings;
mod heard;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use anyhow::bail;
use rayon::prelude::*;
use uuid::Uuid;

use super::progress;
use crate::datasets::{Clip, Partition, Split};

pub use findings::{Audit, Finding, Kind};
pub use heard::Heard;

/// More unreadable clips than this share of all stop the run: something is wrong with the whole set.
const MAX_UNREADABLE: f64 = 0.05;
/// A clip whose highest sample is below this holds no speech: -60 dB of full scale.
const SILENCE_PEAK: f32 = 1e-3;
/// A sample rate that fewer than this share of the clips have is worth a line.
const ODD_RATE_SHARE: f64 = 0.05;

/// What a clip has to be long enough for.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Samples of one frame.
    pub length: usize,
    /// At this rate.
    pub sample_rate_hz: u32,
}

/// A clip, its part, and what it sounds like or why it cannot be heard.
type Listened<'a> = (Split, &'a Clip, Result<Heard, String>);

/// Listens to every clip in parallel, leaves out what cannot be used, and adds to the audit what was found.
///
/// # Errors
/// More than 5 % unreadable clips, a part that is left empty, and fewer than two emotions to learn.
pub fn audit(
    partition: Partition,
    protocol: &'static str,
    frame: Frame,
    mut audit: Audit,
    listen: impl Fn(&Path) -> Result<Heard, String> + Sync,
) -> anyhow::Result<(Partition, Audit)> {
    let clips: Vec<(Split, &Clip)> = partition
        .parts()
        .into_iter()
        .flat_map(|(split, clips)| clips.iter().map(move |it| (split, it)))
        .collect();
    let bar = progress::bar(clips.len(), "audit");
    let listened: Vec<Listened> = clips
        .into_par_iter()
        .map(|(split, clip)| {
            let heard = listen(&clip.path);
            bar.inc(1);
            (split, clip, heard)
        })
        .collect();
    bar.finish_and_clear();
    audit.clips = listened.len();
    audit.findings.extend(listened.iter().filter_map(|listened| alone(listened, frame)));
    audit.findings.extend(odd_rates(&listened));
    audit.findings.extend(same_sound(&listened));
    drop(listened);
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
fn check(partition: &Partition, protocol: &'static str, audit: &Audit) -> anyhow::Result<()> {
    check_unreadable(audit)?;
    partition.check(protocol)?;
    check_labels(partition)
}

/// What is wrong with a clip by itself.
fn alone((split, clip, heard): &Listened, frame: Frame) -> Option<Finding> {
    let finding = |kind, reason| Some(Finding::new(kind, clip, *split, reason));
    let heard = match heard {
        Err(reason) => return finding(Kind::Unreadable, reason.clone()),
        Ok(heard) => heard,
    };
    let needed = frame.length as f64 / f64::from(frame.sample_rate_hz);
    if heard.seconds < needed {
        let reason = format!("{:.1} ms, one frame has {:.1}", heard.seconds * 1e3, needed * 1e3);
        return finding(Kind::TooShort, reason);
    }
    if heard.peak == 0.0 {
        return finding(Kind::Silent, "every sample is zero".to_owned());
    }
    let decibels = 20.0 * heard.peak.log10();
    (heard.peak < SILENCE_PEAK).then(|| finding(Kind::Silent, format!("peak at {decibels:.0} dB"))).flatten()
}

/// Clips at a rate that few others have. They are resampled as all are.
fn odd_rates(listened: &[Listened]) -> Vec<Finding> {
    let readable =
        || listened.iter().filter_map(|(split, clip, heard)| Some((split, clip, heard.as_ref().ok()?)));
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    readable().for_each(|(.., heard)| *counts.entry(heard.sample_rate_hz).or_default() += 1);
    let most = counts.iter().max_by_key(|(_, count)| **count).map_or(0, |(rate, _)| *rate);
    let limit = ODD_RATE_SHARE * readable().count() as f64;
    readable()
        .filter(|(.., heard)| heard.sample_rate_hz != most && (counts[&heard.sample_rate_hz] as f64) < limit)
        .map(|(split, clip, heard)| {
            let reason = format!("{} Hz, most clips have {most} Hz", heard.sample_rate_hz);
            Finding::new(Kind::OddSampleRate, clip, *split, reason)
        })
        .collect()
}

/// Clips that sound alike to the bit: under different labels none can be believed; under one label in two parts they
/// flatter the figures.
fn same_sound(listened: &[Listened]) -> Vec<Finding> {
    let mut groups: HashMap<Uuid, Vec<(Split, &Clip)>> = HashMap::new();
    for (split, clip, heard) in listened {
        if let Some(heard) = heard.as_ref().ok().filter(|heard| heard.peak > 0.0) {
            groups.entry(heard.content).or_default().push((*split, clip));
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
        (2.., _) => Kind::ContradictoryLabels,
        (_, 1..) => Kind::DuplicateAcrossSplits,
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

fn without(mut partition: Partition, audit: &Audit) -> Partition {
    let left_out: HashSet<&str> = audit.left_out().map(|finding| finding.clip.as_str()).collect();
    for part in [&mut partition.train, &mut partition.validation, &mut partition.test] {
        part.retain(|clip| !left_out.contains(clip.path.display().to_string().as_str()));
    }
    partition
}

fn check_unreadable(audit: &Audit) -> anyhow::Result<()> {
    let unreadable: Vec<&Finding> = audit.of(Kind::Unreadable).collect();
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

fn check_labels(partition: &Partition) -> anyhow::Result<()> {
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
