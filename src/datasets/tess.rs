//! TESS: files such as `OAF_back_angry.flac`, and the split across actresses.
//!
//! Input: the folder that holds one folder for each actress and emotion, or the files themselves; or a folder around it,
//! as some copies of the dataset have. Output: clips with their splits. Invariants: actress and emotion come from the file
//! names, in any case, because the published folder names differ in case and spelling.

use std::path::Path;

use super::files::{audio_files, stem, without_copies};
use super::{Clip, DatasetError, ExcludedFile, ExclusionReason, Listing, Member, Split};

pub(super) const PATTERN: &str =
    "<OAF|YAF>_<word>_<angry|disgust|fear|happy|neutral|ps|sad>.flac|wav, as TESS names its clips";

/// The number of levels of folders that are searched. One copy of the dataset has two folders around the folders of the
/// emotions, and every clip twice.
const NESTING: usize = 4;

/// One in this number of the training actress's words is used for validation.
const VALIDATION_STRIDE: usize = 10;

/// One of the two actresses. The clips of the test actress are the test split; those of the other one are the training
/// split, except for every tenth word, which is the validation split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Actress {
    /// The older actress.
    Oaf,
    /// The younger actress.
    #[default]
    Yaf,
}

impl Actress {
    /// Returns the other actress.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Oaf => Self::Yaf,
            Self::Yaf => Self::Oaf,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Oaf => "OAF",
            Self::Yaf => "YAF",
        }
    }
}

impl std::str::FromStr for Actress {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        match text {
            "OAF" => Ok(Self::Oaf),
            "YAF" => Ok(Self::Yaf),
            other => Err(DatasetError::UnknownActress(other.to_owned())),
        }
    }
}

impl std::fmt::Display for Actress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

pub(super) fn find(root: &Path, test: Actress) -> Result<Listing, DatasetError> {
    let (mut clips, mut excluded) = (Vec::new(), Vec::new());
    for path in audio_files(root, NESTING, &mut excluded)? {
        match clip(&path) {
            Some(clip) => clips.push(clip),
            None => excluded.push(ExcludedFile { path, reason: ExclusionReason::UnknownName(PATTERN) }),
        }
    }
    let members = across_actresses(without_copies(clips, &mut excluded), test);
    Ok(Listing { members, excluded })
}

fn clip(path: &Path) -> Option<Clip> {
    // The id is spelled as the dataset publishes it, OAF_back_angry, so that the splits do not depend on the case.
    let stem = stem(path);
    let (actress, rest) = stem.split_once('_')?;
    let id = format!("{}_{}", actress.to_ascii_uppercase(), rest.to_ascii_lowercase());
    let speaker = match id.get(..2)? {
        "OA" => "OAF",
        "YA" => "YAF",
        _ => return None,
    };
    let emotion = emotion(id.rsplit_once('_')?.1)?.to_owned();
    id.split('_').nth(2)?;
    Some(Clip { path: path.to_owned(), emotion, speaker: Some(speaker.into()), id })
}

fn emotion(code: &str) -> Option<&'static str> {
    Some(match code {
        "angry" => "anger",
        "disgust" => "disgust",
        "fear" => "fear",
        "happy" => "happiness",
        "neutral" => "neutral",
        "ps" => "surprise",
        "sad" => "sadness",
        _ => return None,
    })
}

fn word(clip: &Clip) -> String {
    clip.id.split('_').nth(1).unwrap_or_default().to_owned()
}

fn across_actresses(clips: Vec<Clip>, test: Actress) -> Vec<Member> {
    let mut words: Vec<String> = clips.iter().map(word).collect();
    words.sort();
    words.dedup();
    let validates = |clip: &Clip| {
        words.binary_search(&word(clip)).is_ok_and(|index| index % VALIDATION_STRIDE == VALIDATION_STRIDE - 1)
    };
    let part = |clip: &Clip| match clip.speaker.as_deref() {
        Some(speaker) if speaker == test.name() => Split::Test,
        _ if validates(clip) => Split::Validation,
        _ => Split::Train,
    };
    clips.iter().map(|clip| (clip.clone(), part(clip))).collect()
}
