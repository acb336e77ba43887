//! Labelled speech datasets on disk: their clips, labels, speakers and splits.
//!
//! Input: dataset specifications `NAME:PATH`, label rules and a split protocol. Output: [`Clip`]s sorted by id, first as
//! one `pool`, then as [`DatasetSplits`], of which `audit` removes unusable clips. Invariants: before the audit no audio file
//! is decoded; every file that is left out has an [`ExcludedFile`] with the reason.

pub mod audit;
mod crema_d;
mod error;
mod files;
mod labels;
mod manifest;
mod named;
mod pool;
mod protocol;
mod tess;

use std::path::PathBuf;
use std::str::FromStr;

pub use error::DatasetError;
pub use files::{ExcludedFile, ExclusionReason};
pub use labels::{LabelMap, LabelRule};
pub use pool::{DatasetSplits, Pool};
pub use protocol::{Protocol, order_of};
pub use tess::Actress;

/// One labelled recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The clip's id, unique in its dataset: the file's stem, or the path in a manifest.
    pub id: String,
    /// The path of the audio file.
    pub path: PathBuf,
    /// The emotion by its canonical name, such as `anger`; the labels of a manifest are not mapped.
    pub emotion: String,
    /// The speaker's id, where it is known. With several datasets it is prefixed by the name of its dataset.
    pub speaker: Option<String>,
}

/// A supported dataset, which determines how file names are parsed and speakers are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetName {
    /// Toronto Emotional Speech Set: two actresses, seven emotions.
    Tess,
    /// Crowd-sourced Emotional Multimodal Actors Dataset: 91 actors, six emotions.
    CremaD,
    /// Berlin Database of Emotional Speech: ten German actors, seven emotions.
    EmoDb,
    /// Ryerson Audio-Visual Database of Emotional Speech and Song: 24 actors, eight emotions; its speech.
    Ravdess,
    /// Surrey Audio-Visual Expressed Emotion: four speakers, seven emotions.
    Savee,
    /// A CSV file with rows `path,label[,speaker]`.
    Manifest,
}

/// A dataset specification of the command line, such as `tess:DIR` or `manifest:FILE.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSpec {
    /// The dataset.
    pub name: DatasetName,
    /// The folder, or the file of a manifest.
    pub path: PathBuf,
    /// The test speaker of the speaker-independent split of TESS; other datasets ignore it.
    pub test_actress: Actress,
}

/// A split of a dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// The clips that a model is trained on.
    Train,
    /// The clips that select the best epoch and the temperature.
    Validation,
    /// The clips that the final model is scored on, once.
    Test,
    /// All clips.
    #[default]
    All,
}

impl DatasetSpec {
    /// Parses `NAME:PATH`.
    ///
    /// # Errors
    /// Returns an error where the text has another form or the name is unknown.
    pub fn parse(text: &str) -> Result<Self, DatasetError> {
        let (name, path) = text.split_once(':').ok_or_else(|| DatasetError::Spec(text.to_owned()))?;
        let name = match name {
            "tess" => DatasetName::Tess,
            "crema-d" => DatasetName::CremaD,
            "emo-db" => DatasetName::EmoDb,
            "ravdess" => DatasetName::Ravdess,
            "savee" => DatasetName::Savee,
            "manifest" => DatasetName::Manifest,
            other => return Err(DatasetError::UnknownName(other.to_owned())),
        };
        if path.is_empty() {
            return Err(DatasetError::Spec(text.to_owned()));
        }
        Ok(Self { name, path: PathBuf::from(path), test_actress: Actress::default() })
    }

    /// Returns the dataset's published name.
    pub fn title(&self) -> &'static str {
        match self.name {
            DatasetName::CremaD => "CREMA-D",
            DatasetName::Tess => "TESS",
            DatasetName::EmoDb => "EMO-DB",
            DatasetName::Ravdess => "RAVDESS",
            DatasetName::Savee => "SAVEE",
            DatasetName::Manifest => "manifest",
        }
    }

    /// Returns a short name for tables: `crema-d`, `tess`, or the stem of a manifest.
    #[must_use]
    pub fn short_name(&self) -> String {
        let stem = self.path.file_stem().filter(|_| self.name == DatasetName::Manifest);
        stem.map_or_else(|| self.title().to_ascii_lowercase(), |stem| stem.to_string_lossy().into_owned())
    }

    /// Describes, in one line, the dataset and its speaker-independent split.
    pub fn protocol(&self) -> String {
        match self.name {
            DatasetName::CremaD => "CREMA-D, speaker-independent (63/9/19 actors)".into(),
            DatasetName::Tess => {
                let test = self.test_actress;
                format!("TESS, across actresses (train {}, test {test})", test.other())
            }
            DatasetName::EmoDb | DatasetName::Ravdess | DatasetName::Savee | DatasetName::Manifest => {
                format!("{}, speaker-independent", self.title())
            }
        }
    }
}

impl FromStr for DatasetSpec {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        Self::parse(text)
    }
}

/// The form of the command line, `NAME:PATH`.
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

/// Loads the clips of one split of one dataset by its own protocol, sorted by id; at least one.
///
/// # Errors
/// Returns an error where the dataset cannot be read, and where a file name does not follow the dataset's pattern.
pub fn load(spec: &DatasetSpec, split: Split) -> Result<Vec<Clip>, DatasetError> {
    let pool = Pool::read(std::slice::from_ref(spec), &LabelMap::default())?.strict()?;
    match split {
        Split::All => Ok(pool.all()),
        part => Ok(pool.divide(&Protocol::SpeakerIndependent)?.into_split(part)),
    }
}

/// A clip and its split by the dataset's own protocol.
type Member = (Clip, Split);

/// The content of a dataset's folder or manifest.
#[derive(Debug, Default)]
struct Listing {
    members: Vec<Member>,
    /// Audio files that are left out, with the reason for each.
    excluded: Vec<ExcludedFile>,
}
