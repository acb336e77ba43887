//! Labelled speech on disk: which clips there are, what each is called, and who takes part in which split.
//!
//! In: `NAME:PATH`, other names for labels, a protocol. Out: [`Clip`]s, sorted by id: a `pool` of all, then their
//! [`DatasetSplits`]. Never opens an audio file.

mod crema_d;
mod error;
mod labels;
mod manifest;
mod pool;
mod protocol;
mod tess;

use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use error::DatasetError;
pub use labels::{LabelMap, LabelRule};
pub use pool::{DatasetSplits, Pool};
pub use protocol::Protocol;
pub use tess::Actress;

/// One labelled recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Name of the clip, unique in its dataset: the file's stem, or the path as a manifest gives it.
    pub id: String,
    /// Where the audio lies.
    pub path: PathBuf,
    /// The emotion by its canonical name, such as `anger`; a manifest's labels are taken as they stand.
    pub emotion: String,
    /// Who speaks, where that is known; with the dataset's name in front where there are several.
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
    /// Who tests where TESS is split by speaker; the others take no notice of it.
    pub test_actress: Actress,
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
        Ok(Self { name, path: PathBuf::from(path), test_actress: Actress::default() })
    }

    /// The collection's own name.
    pub fn title(&self) -> &'static str {
        match self.name {
            DatasetName::CremaD => "CREMA-D",
            DatasetName::Tess => "TESS",
            DatasetName::Manifest => "manifest",
        }
    }

    /// In one line: the data and how it is split by speaker.
    pub fn protocol(&self) -> String {
        match self.name {
            DatasetName::CremaD => "CREMA-D, speaker-independent (63/9/19 actors)".into(),
            DatasetName::Tess => {
                let test = self.test_actress;
                format!("TESS, across actresses (train {}, test {test})", test.other())
            }
            DatasetName::Manifest => "manifest, speaker-independent".into(),
        }
    }
}

impl FromStr for DatasetSpec {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        Self::parse(text)
    }
}

/// As the command line names it.
impl std::fmt::Display for DatasetSpec {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.title().to_ascii_lowercase(), self.path.display())
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

/// The clips of one split of one dataset by its own protocol, sorted by id; at least one.
///
/// # Errors
/// A dataset that cannot be read, and a file in it whose name is not of its pattern.
pub fn load(spec: &DatasetSpec, split: Split) -> Result<Vec<Clip>, DatasetError> {
    let pool = Pool::read(std::slice::from_ref(spec), &LabelMap::default())?.strict()?;
    match split {
        Split::All => Ok(pool.all()),
        part => Ok(pool.divide(&Protocol::SpeakerIndependent)?.into_part(part)),
    }
}

/// A clip and the part that it belongs to by its dataset's own protocol.
type Member = (Clip, Split);

/// What a loader finds in a folder.
#[derive(Debug, Default)]
struct Listing {
    members: Vec<Member>,
    /// Audio files whose names are not of the dataset's pattern.
    unknown: Vec<PathBuf>,
    /// Clips that the dataset is known to hold under a wrong label, or broken.
    known_bad: Vec<PathBuf>,
}

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
