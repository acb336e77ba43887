//! Labelled speech on disk: which clips there are, what each is called, and who takes part in which split.
//!
//! In: `NAME:PATH` and a split. Out: [`Clip`]s, sorted by id. Never opens an audio file.

mod crema_d;
mod manifest;
mod tess;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

pub use tess::TessProtocol;

/// One labelled recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Name of the clip, unique in its dataset: the file's stem, or the path as a manifest gives it.
    pub id: String,
    /// Where the audio lies.
    pub path: PathBuf,
    /// The emotion by its canonical name, such as `anger`; a manifest's labels are taken as they stand.
    pub emotion: String,
    /// Who speaks, where that is known.
    pub speaker: Option<String>,
}

/// Which collection, and so how its names are read and its speakers split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetName {
    /// Toronto Emotional Speech Set: two actresses, seven emotions.
    Tess,
    /// Crowd-sourced Emotional Multimodal Actors Dataset: 91 actors, six emotions.
    CremaD,
    /// A CSV of `path,label[,speaker]`.
    Manifest,
}

/// A dataset as the command line names it: `tess:DIR`, `crema-d:DIR` or `manifest:FILE.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSpec {
    /// Which collection.
    pub name: DatasetName,
    /// The folder, or a manifest's file.
    pub path: PathBuf,
    /// How TESS is split; the others take no notice of it.
    pub tess: TessProtocol,
}

/// A part of a dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// What a model learns from.
    Train,
    /// What its settings are chosen by.
    Validation,
    /// What it is measured on, once.
    Test,
    /// Everything.
    #[default]
    All,
}

/// Why a dataset could not be read.
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
    UnknownSpeaker(String),
    /// The folder or file is not there, or cannot be read.
    #[error("dataset {} cannot be read: {source}", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Nothing to work on.
    #[error("dataset {} holds no clip for the split `{split}` ({expected})", path.display())]
    Empty {
        /// The folder or manifest.
        path: PathBuf,
        /// The split that was asked for.
        split: Split,
        /// What was looked for.
        expected: &'static str,
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
}

impl DatasetSpec {
    /// Reads `NAME:PATH`.
    pub fn parse(text: &str) -> Result<Self, DatasetError> {
        let (name, path) = text.split_once(':').ok_or_else(|| DatasetError::Spec(text.to_owned()))?;
        let name = match name {
            "tess" => DatasetName::Tess,
            "crema-d" => DatasetName::CremaD,
            "manifest" => DatasetName::Manifest,
            other => return Err(DatasetError::UnknownName(other.to_owned())),
        };
        if path.is_empty() {
            return Err(DatasetError::Spec(text.to_owned()));
        }
        Ok(Self { name, path: PathBuf::from(path), tess: TessProtocol::default() })
    }

    /// The collection's own name.
    pub fn title(&self) -> &'static str {
        match self.name {
            DatasetName::CremaD => "CREMA-D",
            DatasetName::Tess => "TESS",
            DatasetName::Manifest => "manifest",
        }
    }

    /// In one line: the data and how it was split, for a report or a model's provenance.
    pub fn protocol(&self) -> String {
        match self.name {
            DatasetName::CremaD => "CREMA-D, speaker-independent (63/9/19 actors)".into(),
            DatasetName::Tess => self.tess.to_string(),
            DatasetName::Manifest => "manifest, split by speaker where given, else by file".into(),
        }
    }
}

impl FromStr for DatasetSpec {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        Self::parse(text)
    }
}

impl FromStr for Split {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        match text {
            "train" => Ok(Self::Train),
            "validation" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            "all" => Ok(Self::All),
            other => Err(DatasetError::UnknownSplit(other.to_owned())),
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::All => "all",
        })
    }
}

/// The clips of one split, sorted by id; at least one.
pub fn load(spec: &DatasetSpec, split: Split) -> Result<Vec<Clip>, DatasetError> {
    let (members, expected) = match spec.name {
        DatasetName::Tess => (tess::members(&spec.path, &spec.tess)?, tess::PATTERN),
        DatasetName::CremaD => (crema_d::members(&spec.path)?, crema_d::PATTERN),
        DatasetName::Manifest => (manifest::members(&spec.path)?, "rows of path,label[,speaker]"),
    };
    let mut clips: Vec<Clip> = members
        .into_iter()
        .filter(|(_, part)| split == Split::All || *part == split)
        .map(|(clip, _)| clip)
        .collect();
    if clips.is_empty() {
        return Err(DatasetError::Empty { path: spec.path.clone(), split, expected });
    }
    clips.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(clips)
}

/// A clip and the part that it belongs to.
type Member = (Clip, Split);

/// The audio files directly inside `folder`, hidden ones left out, sorted.
fn audio_files(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let entries = entries(folder)?;
    Ok(entries.into_iter().filter(|path| is_audio(path) && path.is_file()).collect())
}

/// What lies directly inside `folder`, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let unreadable = |source| DatasetError::Unreadable { path: folder.to_owned(), source };
    let mut paths = std::fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .map_err(unreadable)?;
    paths.sort();
    Ok(paths)
}

fn is_audio(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
    !hidden && extension.is_some_and(|it| matches!(it.as_str(), "wav" | "mp3" | "flac" | "ogg"))
}

/// The file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
}
