//! The list of what an audit found, for people and for the report.
//!
//! In: findings, one by one. Out: a few lines for stderr, the whole list as JSON. Never decides what a finding is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::evaluation::datasets::{Clip, Pool, Split};

/// Clips named for each kind before "and N more".
const NAMED: usize = 5;

/// What can be the matter with a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// An audio file whose name is not of its dataset's pattern.
    UnknownName,
    /// The dataset is known to hold it under a wrong label, or broken.
    KnownBad,
    /// It cannot be read or decoded.
    Unreadable,
    /// It holds no sound.
    Silent,
    /// It is shorter than one frame.
    TooShort,
    /// The same samples stand under another label too.
    ContradictoryLabels,
    /// The same samples stand under the same label in another part too.
    DuplicateAcrossSplits,
    /// Its sample rate is unusual in this data.
    OddSampleRate,
}

/// One clip that something is the matter with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    #[serde(skip)]
    pub kind: FindingKind,
    /// The file.
    pub clip: String,
    /// The part that it was meant for, where it is a clip at all.
    pub split: Option<String>,
    /// In words.
    pub reason: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Clips that were listened to.
    pub clips: usize,
    /// How many clips of each label were left out on request.
    pub labels_left_out: BTreeMap<String, usize>,
    /// In the order in which it was found.
    #[serde(serialize_with = "by_kind")]
    pub findings: Vec<Finding>,
}

impl FindingKind {
    /// Whether such a clip takes no part.
    #[must_use]
    pub fn is_left_out(self) -> bool {
        !matches!(self, Self::DuplicateAcrossSplits | Self::OddSampleRate)
    }

    /// In words, behind "clips".
    fn title(self) -> &'static str {
        match self {
            Self::UnknownName => "not named as the dataset names its clips",
            Self::KnownBad => "known to be wrong in this dataset",
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
    /// So many clips of this kind, in words.
    #[must_use]
    pub fn count(self, clips: usize) -> String {
        format!("{clips} {} {}", if clips == 1 { "clip" } else { "clips" }, self.title())
    }
}

impl Finding {
    /// Something about a clip.
    #[must_use]
    pub fn new(kind: FindingKind, clip: &Clip, split: Split, reason: String) -> Self {
        Self { kind, clip: clip.path.display().to_string(), split: Some(split.to_string()), reason }
    }
}

impl Audit {
    /// What the pool itself left out, before any clip was listened to.
    #[must_use]
    pub fn of_pool(pool: &Pool) -> Self {
        let of_file = |kind, path: &Path, reason| Finding {
            kind,
            clip: path.display().to_string(),
            split: None,
            reason,
        };
        let unknown = pool
            .unknown
            .iter()
            .map(|(path, expected)| of_file(FindingKind::UnknownName, path, format!("expected {expected}")));
        let known_bad = pool.known_bad.iter().map(|path| {
            let reason = "broken, or its sound stands in the dataset under another label too".to_owned();
            of_file(FindingKind::KnownBad, path, reason)
        });
        let findings = unknown.chain(known_bad).collect();
        Self { clips: 0, labels_left_out: pool.left_out.clone(), findings }
    }

    /// The findings of one kind.
    pub fn of(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    /// The clips that take no part.
    pub fn left_out(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_left_out())
    }

    /// All findings, kind by kind.
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

/// A JSON object: `{"silent": [{"clip", "split", "reason"}, ...], ...}`.
fn by_kind<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    grouped(findings).serialize(serializer)
}

/// A few lines: each kind with its number and the first of its clips. Nothing where nothing was found.
impl fmt::Display for Audit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, count) in &self.labels_left_out {
            writeln!(out, "left out {count} clips of {label}, as asked")?;
        }
        for (kind, findings) in self.by_kind() {
            let verdict = if kind.is_left_out() { "left out" } else { "kept" };
            writeln!(out, "{} ({verdict}):", kind.count(findings.len()))?;
            // Clips under two labels are never summed up: whoever keeps the data has to mend each one.
            let named = if kind == FindingKind::ContradictoryLabels { findings.len() } else { NAMED };
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
