//! Why a dataset cannot be read, or not be split as asked.
//!
//! Invariant: each message names what was given and what is allowed instead.

use std::path::PathBuf;

use thiserror::Error;

use super::Split;

/// Why a dataset could not be read or split.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// Not `NAME:PATH`.
    #[error("dataset `{0}` is not NAME:PATH, for instance crema-d:data/crema-d")]
    Spec(String),
    /// No such collection.
    #[error("dataset name `{0}` is unknown (allowed: tess, crema-d, manifest)")]
    UnknownName(String),
    /// No such split.
    #[error("split `{0}` is unknown (allowed: train, validation, test, all)")]
    UnknownSplit(String),
    /// No such test speaker.
    #[error("test speaker `{0}` is unknown (allowed for tess: OAF, YAF)")]
    UnknownActress(String),
    /// The folder or file is not there, or cannot be read.
    #[error("dataset {} cannot be read: {source}", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Nothing to work on.
    #[error("dataset {} holds no clip ({expected})", path.display())]
    Empty {
        /// The folder or manifest.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// A part that nothing is left for.
    #[error(
        "there is no clip for the split `{split}` (protocol {protocol}, {clips} clips, {speakers} speakers)"
    )]
    EmptySplit {
        /// The part.
        split: Split,
        /// How the data was split.
        protocol: &'static str,
        /// How many clips there are.
        clips: usize,
        /// How many speakers are known.
        speakers: usize,
    },
    /// An audio file whose name does not say what it holds.
    #[error("file name {} does not follow {expected}", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
        /// The pattern and its allowed values.
        expected: &'static str,
    },
    /// A row of a manifest that is not `path,label[,speaker]`.
    #[error("manifest {} line {line}: {reason}", path.display())]
    Row {
        /// The manifest.
        path: PathBuf,
        /// Line in the file, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A protocol by speaker, and clips without one.
    #[error(
        "protocol {protocol} needs the speaker of each clip, and {clips} have none (the first one: {example}); \
         give the manifest a third column, speaker, or take the protocol random"
    )]
    NoSpeaker {
        /// The protocol's name.
        protocol: &'static str,
        /// How many clips have no speaker.
        clips: usize,
        /// One of them.
        example: String,
    },
    /// A protocol by speaker, and too few of them.
    #[error("protocol {protocol} needs at least {needed} speakers, and there are {found}")]
    TooFewSpeakers {
        /// The protocol's name.
        protocol: &'static str,
        /// How many it takes.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// No such speaker, or more than one.
    #[error("fold `{speaker}` names {found} speakers where one is wanted (there are: {known})")]
    Fold {
        /// What was given.
        speaker: String,
        /// How many speakers that is.
        found: usize,
        /// The speakers, or the first of them.
        known: String,
    },
    /// No such fold.
    #[error("fold `{fold}` of {folds} is unknown (allowed: at least 2 folds, numbered from 1)")]
    FoldNumber {
        /// What was given.
        fold: usize,
        /// How many there are.
        folds: usize,
    },
    /// Not `FROM=TO`.
    #[error(
        "label rule `{0}` is not FROM=TO, for instance surprise=happiness, or calm= to leave its clips out"
    )]
    LabelRule(String),
    /// Two rules for one label.
    #[error("label `{0}` is mapped twice")]
    LabelTwice(String),
    /// A rule for a label that no clip has.
    #[error("label `{label}` is on no clip (there are: {known})")]
    UnknownLabel {
        /// What was given.
        label: String,
        /// The labels that there are.
        known: String,
    },
}
