//! TESS: `OAF_back_angry.flac`, one folder an actress and emotion, and its splits.
//!
//! In: the folder that holds those folders (or the files themselves). Out: clips with their split. Never trusts a
//! folder's name: they differ in case and spelling, so actress and emotion come from the file's name.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Clip, DatasetError, Member, Split, audio_files, entries, stem};

pub(super) const PATTERN: &str =
    "<OAF|YAF>_<word>_<angry|disgust|fear|happy|neutral|ps|sad>.flac|wav, as TESS names its clips";

/// Of the training words (or clips), one in so many validates.
const VALIDATION_STRIDE: usize = 10;

/// How the set is split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TessProtocol {
    /// The named actress tests; the other one trains, but for every tenth word, which validates.
    AcrossActresses {
        /// `OAF` or `YAF`.
        test_speaker: String,
    },
    /// A random tenth validates and a random fifth tests, with both voices everywhere: easy, and no promise for
    /// another speaker.
    SpeakerDependent {
        /// Seed of the shuffle.
        seed: u64,
    },
}

impl Default for TessProtocol {
    fn default() -> Self {
        Self::AcrossActresses { test_speaker: "YAF".into() }
    }
}

impl TessProtocol {
    /// Tests on this actress: `OAF` or `YAF`.
    pub fn test_on(speaker: &str) -> Result<Self, DatasetError> {
        match speaker {
            "OAF" | "YAF" => Ok(Self::AcrossActresses { test_speaker: speaker.to_owned() }),
            other => Err(DatasetError::UnknownSpeaker(other.to_owned())),
        }
    }
}

impl std::fmt::Display for TessProtocol {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AcrossActresses { test_speaker } => {
                let other = if test_speaker == "OAF" { "YAF" } else { "OAF" };
                write!(out, "TESS, across actresses (train {other}, test {test_speaker})")
            }
            Self::SpeakerDependent { seed } => {
                write!(out, "TESS, speaker-dependent random split (seed {seed})")
            }
        }
    }
}

pub(super) fn members(root: &Path, protocol: &TessProtocol) -> Result<Vec<Member>, DatasetError> {
    // Keyed by id: a copy of the set that holds a clip twice must not count it twice.
    let mut clips = BTreeMap::new();
    let folders = entries(root)?.into_iter().filter(|path| path.is_dir());
    for folder in std::iter::once(root.to_owned()).chain(folders) {
        for path in audio_files(&folder)? {
            let clip = clip(&path).ok_or(DatasetError::FileName { path, expected: PATTERN })?;
            clips.entry(clip.id.clone()).or_insert(clip);
        }
    }
    let clips = clips.into_values().collect();
    Ok(match protocol {
        TessProtocol::AcrossActresses { test_speaker } => across_actresses(clips, test_speaker),
        TessProtocol::SpeakerDependent { seed } => speaker_dependent(clips, *seed),
    })
}

fn clip(path: &Path) -> Option<Clip> {
    let id = stem(path);
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

fn across_actresses(clips: Vec<Clip>, test_speaker: &str) -> Vec<Member> {
    let mut words: Vec<String> = clips.iter().map(word).collect();
    words.sort();
    words.dedup();
    let validates = |clip: &Clip| {
        words.binary_search(&word(clip)).is_ok_and(|index| index % VALIDATION_STRIDE == VALIDATION_STRIDE - 1)
    };
    let part = |clip: &Clip| match clip.speaker.as_deref() {
        Some(speaker) if speaker == test_speaker => Split::Test,
        _ if validates(clip) => Split::Validation,
        _ => Split::Train,
    };
    clips.iter().map(|clip| (clip.clone(), part(clip))).collect()
}

fn speaker_dependent(mut clips: Vec<Clip>, seed: u64) -> Vec<Member> {
    clips.sort_by_key(|clip| super::manifest::hash(seed, &clip.id));
    let count = clips.len();
    let part = |rank: usize| match rank {
        rank if rank < count / 5 => Split::Test,
        rank if rank < count / 5 + count / VALIDATION_STRIDE => Split::Validation,
        _ => Split::Train,
    };
    clips.into_iter().enumerate().map(|(rank, clip)| (clip, part(rank))).collect()
}
