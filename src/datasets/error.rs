//! Errors of reading and splitting datasets.
//!
//! Invariants: every message names the given value and the allowed values.

use std::path::PathBuf;

use thiserror::Error;

use super::Split;

/// Why a dataset cannot be read or split.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// A dataset specification is not `NAME:PATH`.
    #[error("dataset `{0}` is not NAME:PATH, for instance crema-d:data/crema-d")]
    Spec(String),
    /// The dataset name is unknown.
    #[error("dataset name `{0}` is unknown (allowed: tess, crema-d, emo-db, ravdess, savee, manifest)")]
    UnknownName(String),
    /// The split name is unknown.
    #[error("split `{0}` is unknown (allowed: train, validation, test, all)")]
    UnknownSplit(String),
    /// The test speaker of TESS is unknown.
    #[error("test speaker `{0}` is unknown (allowed for tess: OAF, YAF)")]
    UnknownActress(String),
    /// The folder or file does not exist or cannot be read.
    #[error("dataset {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The dataset holds no clips.
    #[error("dataset {} holds no clip ({expected})", path.display())]
    Empty {
        /// The folder or manifest.
        path: PathBuf,
        /// The pattern of the files or rows that were expected.
        expected: &'static str,
    },
    /// The dataset holds pointers of Git LFS and no clips.
    #[error(
        "{files} audio files are Git LFS pointers, without the audio (first: {}); `git lfs pull` in the dataset's folder \
         downloads it",
        path.display()
    )]
    LfsPointers {
        /// The first pointer.
        path: PathBuf,
        /// The number of pointers.
        files: usize,
    },
    /// A split holds no clips.
    #[error(
        "there is no clip for the split `{split}` (protocol {protocol}, {clips} clips, {speakers} speakers)"
    )]
    EmptySplit {
        /// The split.
        split: Split,
        /// The name of the protocol.
        protocol: &'static str,
        /// The number of clips in all splits.
        clips: usize,
        /// The number of known speakers.
        speakers: usize,
    },
    /// The name of an audio file does not follow the dataset's pattern.
    #[error("file name {} does not follow {expected}", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
        /// The pattern and its allowed values.
        expected: &'static str,
    },
    /// A row of a manifest has no path or no label, or its file does not exist.
    #[error("manifest {} line {line}: {reason}", path.display())]
    Row {
        /// The manifest.
        path: PathBuf,
        /// The line in the file, from 1.
        line: u64,
        /// What is wrong with the row.
        reason: String,
    },
    /// The protocol splits by speaker, and some clips have no speaker.
    #[error(
        "protocol {protocol} needs the speaker of each clip, and {clips} have none (first: {example}); \
         add the column speaker to the manifest, or use the protocol random"
    )]
    NoSpeaker {
        /// The protocol's name.
        protocol: &'static str,
        /// The number of clips without a speaker.
        clips: usize,
        /// The id of the first of them.
        example: String,
    },
    /// The protocol splits by speaker, and there are too few speakers.
    #[error("protocol {protocol} needs at least {needed} speakers, and there are {found}")]
    TooFewSpeakers {
        /// The protocol's name.
        protocol: &'static str,
        /// The number of speakers that the protocol needs.
        needed: usize,
        /// The number of speakers.
        found: usize,
    },
    /// A speaker's name matches no speaker, or more than one.
    #[error("fold `{speaker}` names {found} speakers, and must name one (known: {known})")]
    Fold {
        /// The given name.
        speaker: String,
        /// The number of speakers that it matches.
        found: usize,
        /// The known speakers, or the first of them.
        known: String,
    },
    /// The fold number is out of range.
    #[error("fold `{fold}` of {folds} is unknown (allowed: at least 2 folds, numbered from 1)")]
    FoldNumber {
        /// The given fold.
        fold: usize,
        /// The number of folds.
        folds: usize,
    },
    /// A label rule is not `FROM=TO`.
    #[error(
        "label rule `{0}` is not FROM=TO, for instance surprise=happiness, or calm= to exclude its clips"
    )]
    LabelRule(String),
    /// A label has two rules.
    #[error("label `{0}` is mapped twice")]
    LabelTwice(String),
    /// A dataset shares no label with the others, so that a network would tell the datasets apart and not the emotions.
    #[error(
        "dataset {dataset} has no label in common with the other datasets (it has {labels}; they have {others}): rename \
         labels with --map-label, or leave the dataset out"
    )]
    DisjointLabels {
        /// The dataset, as on the command line.
        dataset: String,
        /// Its labels.
        labels: String,
        /// The labels of the other datasets.
        others: String,
    },
    /// A label rule or filter names a label that no clip has.
    #[error("label `{label}` is on no clip (known: {known})")]
    UnknownLabel {
        /// The given label.
        label: String,
        /// The labels of the clips.
        known: String,
    },
}
