//! The findings of an audit.
//!
//! Input: findings. Output: a summary for stderr, and the full list as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::datasets::{Clip, ExclusionReason, Pool, Split};

/// The number of clips that the summary lists for each kind.
const LISTED: usize = 5;

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The name of an audio file does not follow the dataset's pattern.
    UnknownName,
    /// The clip is known to be damaged or wrongly labelled in the published dataset.
    KnownBad,
    /// The file has the name of another clip of the dataset.
    Copy,
    /// The clip cannot be read or decoded.
    Unreadable,
    /// The clip holds no sound.
    Silent,
    /// The clip is shorter than one frame.
    TooShort,
    /// The same samples also occur under another label.
    ContradictoryLabels,
    /// The same samples also occur under the same label in another split.
    DuplicateAcrossSplits,
    /// The sample rate differs from that of most clips.
    OddSampleRate,
}

/// One finding about one clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of the finding.
    #[serde(skip)]
    pub kind: FindingKind,
    /// The path of the file.
    pub clip: String,
    /// The split of the clip; `None` for files that are not clips.
    pub split: Option<String>,
    /// The details, as text.
    pub reason: String,
}

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// The number of audited clips.
    pub clips: usize,
    /// The number of clips that the label map excludes, by label.
    pub labels_left_out: BTreeMap<String, usize>,
    /// The findings, in the order in which they were found.
    #[serde(serialize_with = "by_kind")]
    pub findings: Vec<Finding>,
}

impl FindingKind {
    /// Returns whether such a clip is excluded from training and evaluation.
    #[must_use]
    pub fn is_left_out(self) -> bool {
        !matches!(self, Self::DuplicateAcrossSplits | Self::OddSampleRate)
    }

    /// Returns the description that follows the word "clips".
    fn title(self) -> &'static str {
        match self {
            Self::UnknownName => "not named as the dataset names its clips",
            Self::KnownBad => "known to be wrong in this dataset",
            Self::Copy => "with the name of another clip",
            Self::Unreadable => "unreadable",
            Self::Silent => "without sound",
            Self::TooShort => "shorter than one frame",
            Self::ContradictoryLabels => "with the same sound under two labels",
            Self::DuplicateAcrossSplits => "with the same sound in two splits",
            Self::OddSampleRate => "with an unusual sample rate",
        }
    }
}

impl FindingKind {
    /// Describes a number of clips of this kind.
    #[must_use]
    pub fn count(self, clips: usize) -> String {
        format!("{clips} {} {}", if clips == 1 { "clip" } else { "clips" }, self.title())
    }
}

impl Finding {
    /// Creates a finding about a clip.
    #[must_use]
    pub fn new(kind: FindingKind, clip: &Clip, split: Split, reason: String) -> Self {
        Self { kind, clip: clip.path.display().to_string(), split: Some(split.to_string()), reason }
    }
}

impl Audit {
    /// Creates an audit with the files that the pool excludes by their names and types.
    #[must_use]
    pub fn of_pool(pool: &Pool) -> Self {
        let finding = |kind, path: &std::path::Path, reason: &ExclusionReason| Finding {
            kind,
            clip: path.display().to_string(),
            split: None,
            reason: reason.to_string(),
        };
        let findings = pool.excluded.iter().map(|file| {
            let kind = match &file.reason {
                ExclusionReason::UnknownName(_) => FindingKind::UnknownName,
                ExclusionReason::KnownBad => FindingKind::KnownBad,
                ExclusionReason::Copy(_) => FindingKind::Copy,
                ExclusionReason::BrokenLink | ExclusionReason::LfsPointer => FindingKind::Unreadable,
            };
            finding(kind, &file.path, &file.reason)
        });
        let findings: Vec<Finding> = findings.collect();
        // An unreadable file is a clip that was looked at, so that it counts in the share of unreadable clips.
        let clips = findings.iter().filter(|finding| finding.kind == FindingKind::Unreadable).count();
        Self { clips, labels_left_out: pool.left_out.clone(), findings }
    }

    /// Returns the findings of one kind.
    pub fn of(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    /// Returns the findings whose clips are excluded from training and evaluation.
    pub fn left_out(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_left_out())
    }

    /// Returns all findings by kind.
    #[must_use]
    pub fn by_kind(&self) -> BTreeMap<FindingKind, Vec<&Finding>> {
        grouped(&self.findings)
    }
}

fn grouped(findings: &[Finding]) -> BTreeMap<FindingKind, Vec<&Finding>> {
    let mut kinds: BTreeMap<FindingKind, Vec<&Finding>> = BTreeMap::new();
    findings.iter().for_each(|finding| kinds.entry(finding.kind).or_default().push(finding));
    kinds
}

/// Serializes findings as a JSON object: `{"silent": [{"clip", "split", "reason"}, ...], ...}`.
fn by_kind<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    grouped(findings).serialize(serializer)
}

/// The summary: each kind with its number of clips and the first of them; empty without findings.
impl fmt::Display for Audit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, count) in &self.labels_left_out {
            writeln!(out, "excluded {count} clips with label {label}")?;
        }
        for (kind, findings) in self.by_kind() {
            let verdict = if kind.is_left_out() { "left out" } else { "kept" };
            writeln!(out, "{} ({verdict}):", kind.count(findings.len()))?;
            // Contradictory labels are listed in full, because each of them has to be corrected in the data.
            let named = if kind == FindingKind::ContradictoryLabels { findings.len() } else { LISTED };
            for Finding { clip, reason, .. } in findings.iter().take(named) {
                writeln!(out, "  {clip}: {reason}")?;
            }
            if findings.len() > named {
                writeln!(out, "  and {} more", findings.len() - named)?;
            }
        }
        Ok(())
    }
}
