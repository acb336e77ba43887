//! EMO-DB, RAVDESS and SAVEE: datasets whose file names give speaker and emotion, and which have no published split.
//!
//! Input: the dataset's folder, or a folder around it. Output: clips with splits by speaker, as those of a manifest. Invariants: names are read in
//! any case; of RAVDESS only speech is used, neither songs nor the sound of the videos, which is the same again.

use std::path::Path;

use super::files::{audio_files, stem, without_copies};
use super::manifest::split;
use super::{Clip, DatasetError, ExcludedFile, ExclusionReason, Listing};

/// The number of levels of folders that are searched.
const NESTING: usize = 3;

/// How a dataset names its clips.
pub(super) struct Naming {
    /// The pattern, in words.
    pub pattern: &'static str,
    /// Returns speaker and emotion of a clip by its stem in lower case; `None` for other files.
    parse: fn(&str) -> Option<(String, &'static str)>,
}

/// Burkhardt et al. (2005): speaker, text, emotion letter, version.
pub(super) const EMO_DB: Naming = Naming {
    pattern: "<speaker, 2 digits><text, 3 characters><W|L|E|A|F|T|N><version>.wav|flac, as EMO-DB names its clips",
    parse: emo_db,
};

/// Livingstone and Russo (2018): modality, vocal channel, emotion, intensity, statement, repetition, actor.
pub(super) const RAVDESS: Naming = Naming {
    pattern: "03-01-<emotion, 01 to 08>-<intensity>-<statement>-<repetition>-<actor>.wav, as RAVDESS names its speech",
    parse: ravdess,
};

/// Jackson and Haq (2014): speaker, emotion, sentence.
pub(super) const SAVEE: Naming = Naming {
    pattern: "<DC|JE|JK|KL>_<a|d|f|h|n|sa|su><sentence>.wav, or that name inside a folder of the speaker, as SAVEE names its clips",
    parse: savee,
};

pub(super) fn find(root: &Path, naming: &Naming) -> Result<Listing, DatasetError> {
    let (mut clips, mut excluded) = (Vec::new(), Vec::new());
    for path in audio_files(root, NESTING, &mut excluded)? {
        let id = id(&path);
        match (naming.parse)(&id) {
            Some((speaker, emotion)) => {
                clips.push(Clip { id, path, emotion: emotion.to_owned(), speaker: Some(speaker) });
            }
            None => {
                excluded.push(ExcludedFile { path, reason: ExclusionReason::UnknownName(naming.pattern) })
            }
        }
    }
    Ok(Listing { members: split(without_copies(clips, &mut excluded)), excluded })
}

/// Returns the stem in lower case; where it names no speaker of SAVEE but the folder does, both.
fn id(path: &Path) -> String {
    let stem = stem(path).to_lowercase();
    let folder = path.parent().and_then(Path::file_name).map(|it| it.to_string_lossy().to_lowercase());
    match folder {
        Some(folder) if SAVEE_SPEAKERS.contains(&folder.as_str()) && !stem.contains('_') => {
            format!("{folder}_{stem}")
        }
        _ => stem,
    }
}

fn emo_db(id: &str) -> Option<(String, &'static str)> {
    let (speaker, rest) = id.split_at_checked(2)?;
    let known =
        id.is_ascii() && (6..=7).contains(&id.len()) && speaker.bytes().all(|byte| byte.is_ascii_digit());
    let emotion = match rest.as_bytes().get(3)? {
        b'w' => "anger",
        b'l' => "boredom",
        b'e' => "disgust",
        b'a' => "fear",
        b'f' => "happiness",
        b't' => "sadness",
        b'n' => "neutral",
        _ => return None,
    };
    known.then(|| (speaker.to_owned(), emotion))
}

fn ravdess(id: &str) -> Option<(String, &'static str)> {
    let parts: Vec<&str> = id.split('-').collect();
    let [modality, vocal_channel, emotion, _intensity, _statement, _repetition, actor] = parts[..] else {
        return None;
    };
    let emotion = match emotion {
        "01" => "neutral",
        "02" => "calm",
        "03" => "happiness",
        "04" => "sadness",
        "05" => "anger",
        "06" => "fear",
        "07" => "disgust",
        "08" => "surprise",
        _ => return None,
    };
    (modality == "03" && vocal_channel == "01").then(|| (actor.to_owned(), emotion))
}

const SAVEE_SPEAKERS: [&str; 4] = ["dc", "je", "jk", "kl"];

fn savee(id: &str) -> Option<(String, &'static str)> {
    let (speaker, rest) = id.split_once('_')?;
    let emotion = match rest.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
        "a" => "anger",
        "d" => "disgust",
        "f" => "fear",
        "h" => "happiness",
        "n" => "neutral",
        "sa" => "sadness",
        "su" => "surprise",
        _ => return None,
    };
    SAVEE_SPEAKERS.contains(&speaker).then(|| (speaker.to_uppercase(), emotion))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_speaker_and_emotion() {
        let parse = |naming: &Naming, path: &str| {
            (naming.parse)(&id(Path::new(path))).map(|(speaker, emotion)| format!("{speaker} {emotion}"))
        };
        for (naming, path, expected) in [
            (&EMO_DB, "wav/03a01Wa.wav", Some("03 anger")),
            (&EMO_DB, "16b10Td.flac", Some("16 sadness")),
            (&EMO_DB, "16b10Xd.wav", None),
            (&EMO_DB, "xxa01Wa.wav", None),
            (&RAVDESS, "Actor_12/03-01-06-01-02-01-12.wav", Some("12 fear")),
            (&RAVDESS, "03-02-06-01-02-01-12.wav", None),
            (&RAVDESS, "03-01-09-01-02-01-12.wav", None),
            (&SAVEE, "ALL/DC_sa01.wav", Some("DC sadness")),
            (&SAVEE, "AudioData/KL/su15.wav", Some("KL surprise")),
            (&SAVEE, "AudioData/XX/su15.wav", None),
        ] {
            assert_eq!(parse(naming, path).as_deref(), expected, "{path}");
        }
    }
}
