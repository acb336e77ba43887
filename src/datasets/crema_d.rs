//! CREMA-D: files such as `1001_IEO_ANG_HI.wav`, and the speaker-independent split.
//!
//! Input: the dataset's folder, or one of its folders `AudioWAV`, `AudioFLAC` and `AudioMP3`. Output: clips with their
//! splits. Invariants: the label is the intended emotion from the file name; the listeners' ratings are not read.

use std::path::{Path, PathBuf};

use super::{Clip, DatasetError, Listing, Member, Split, audio_files, stem};

pub(super) const PATTERN: &str =
    "<actor 1001-1091>_<sentence>_<ANG|DIS|FEA|HAP|NEU|SAD>_<level>.wav|flac|mp3, as CREMA-D names its clips";

/// The audio folders of the published dataset, lossless formats first.
const SUBFOLDERS: [&str; 3] = ["AudioWAV", "AudioFLAC", "AudioMP3"];

/// The validation speakers of `crema_d` 1.0.0 in the TensorFlow Datasets catalogue: the sorted speaker ids, shuffled with
/// NumPy's `RandomState(0)` and split 63/9/19.
const VALIDATION_SPEAKERS: [u32; 9] = [1015, 1020, 1021, 1030, 1050, 1070, 1079, 1089, 1090];

/// The test speakers of the same split.
const TEST_SPEAKERS: [u32; 19] = [
    1010, 1013, 1022, 1026, 1037, 1038, 1040, 1045, 1047, 1048, 1059, 1065, 1066, 1068, 1071, 1073, 1084,
    1086, 1088,
];

/// Clips that are damaged in the published dataset, or whose audio also appears there under another label.
const LEFT_OUT: [&str; 4] = ["1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX", "1040_ITH_SAD_XX"];

pub(super) fn find(root: &Path) -> Result<Listing, DatasetError> {
    let mut found = Listing::default();
    for path in audio_files(&audio_folder(root))? {
        match member(&path) {
            Some((clip, _)) if LEFT_OUT.contains(&clip.id.as_str()) => found.known_bad.push(path),
            Some(member) => found.members.push(member),
            None => found.unknown.push(path),
        }
    }
    Ok(found)
}

fn audio_folder(root: &Path) -> PathBuf {
    SUBFOLDERS.iter().map(|name| root.join(name)).find(|it| it.is_dir()).unwrap_or_else(|| root.to_owned())
}

fn member(path: &Path) -> Option<Member> {
    let id = stem(path);
    let mut parts = id.split('_');
    let speaker: u32 = parts.next()?.parse().ok().filter(|id| (1001..=1091).contains(id))?;
    let _sentence = parts.next()?;
    let emotion = emotion(parts.next()?)?.to_owned();
    let _level = parts.next()?;
    let clip = Clip { path: path.to_owned(), emotion, speaker: Some(speaker.to_string()), id };
    Some((clip, split(speaker)))
}

fn emotion(code: &str) -> Option<&'static str> {
    Some(match code {
        "ANG" => "anger",
        "DIS" => "disgust",
        "FEA" => "fear",
        "HAP" => "happiness",
        "NEU" => "neutral",
        "SAD" => "sadness",
        _ => return None,
    })
}

fn split(speaker: u32) -> Split {
    if TEST_SPEAKERS.contains(&speaker) {
        Split::Test
    } else if VALIDATION_SPEAKERS.contains(&speaker) {
        Split::Validation
    } else {
        Split::Train
    }
}
