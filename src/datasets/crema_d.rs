//! CREMA-D: files such as `1001_IEO_ANG_HI.wav`, and the speaker-independent split.
//!
//! Input: the dataset's folder, a folder that contains it, or one of its folders `AudioWAV`, `AudioFLAC` and `AudioMP3`.
//! Output: clips with their splits. Invariants: the label is the intended emotion from the file name, in any case; the
//! listeners' ratings are not read.

use std::path::{Path, PathBuf};

use super::files::{audio_files, folders, stem, without_copies};
use super::{Clip, DatasetError, ExcludedFile, ExclusionReason, Listing, Member, Split};

pub(super) const PATTERN: &str =
    "<actor 1001-1091>_<sentence>_<ANG|DIS|FEA|HAP|NEU|SAD>_<level>.wav|flac|mp3, as CREMA-D names its clips";

/// The audio folders of the published dataset, lossless formats first.
const SUBFOLDERS: [&str; 3] = ["AudioWAV", "AudioFLAC", "AudioMP3"];

/// The number of levels of folders that are searched: copies of the dataset are often unpacked into a folder of their own.
const NESTING: usize = 2;

/// The validation speakers of `crema_d` 1.0.0 in the TensorFlow Datasets catalogue: the sorted speaker ids, shuffled with
/// NumPy's `RandomState(0)` and split 63/9/19.
const VALIDATION_SPEAKERS: [u32; 9] = [1015, 1020, 1021, 1030, 1050, 1070, 1079, 1089, 1090];

/// The test speakers of the same split.
const TEST_SPEAKERS: [u32; 19] = [
    1010, 1013, 1022, 1026, 1037, 1038, 1040, 1045, 1047, 1048, 1059, 1065, 1066, 1068, 1071, 1073, 1084,
    1086, 1088,
];

/// Clips that are damaged in the published dataset, or whose audio also appears there under another label.
///
/// `1076_MTI_SAD_XX` has no sound in some copies of the dataset and is found by the audit.
const LEFT_OUT: [&str; 4] = ["1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX", "1040_ITH_SAD_XX"];

pub(super) fn find(root: &Path) -> Result<Listing, DatasetError> {
    let mut excluded = Vec::new();
    let folder = audio_folder(root, NESTING).unwrap_or_else(|| root.to_owned());
    let mut clips = Vec::new();
    for path in audio_files(&folder, NESTING, &mut excluded)? {
        match clip(&path) {
            Some(clip) if LEFT_OUT.contains(&clip.id.as_str()) => {
                excluded.push(ExcludedFile { path, reason: ExclusionReason::KnownBad });
            }
            Some(clip) => clips.push(clip),
            None => excluded.push(ExcludedFile { path, reason: ExclusionReason::UnknownName(PATTERN) }),
        }
    }
    let members = without_copies(clips, &mut excluded).into_iter().map(with_split).collect();
    Ok(Listing { members, excluded })
}

/// Returns the first audio folder inside `root`, or inside the folders in it down to `depth` levels. Case is ignored.
fn audio_folder(root: &Path, depth: usize) -> Option<PathBuf> {
    let folders = folders(root);
    let called = |folder: &&PathBuf, name: &str| {
        folder.file_name().is_some_and(|it| it.to_string_lossy().eq_ignore_ascii_case(name))
    };
    let found =
        SUBFOLDERS.iter().find_map(|name| folders.iter().find(|folder| called(folder, name)).cloned());
    let deeper = || folders.iter().find_map(|folder| audio_folder(folder, depth - 1));
    if depth == 0 { found } else { found.or_else(deeper) }
}

fn clip(path: &Path) -> Option<Clip> {
    // In one published name the level has one letter too few: 1040_ITH_SAD_X.
    let id = stem(path).to_ascii_uppercase();
    let id = if id.ends_with("_X") { format!("{id}X") } else { id };
    let mut parts = id.split('_');
    let speaker: u32 = parts.next()?.parse().ok().filter(|id| (1001..=1091).contains(id))?;
    let _sentence = parts.next()?;
    let emotion = emotion(parts.next()?)?.to_owned();
    let _level = parts.next()?;
    Some(Clip { path: path.to_owned(), emotion, speaker: Some(speaker.to_string()), id })
}

fn with_split(clip: Clip) -> Member {
    let speaker = clip.speaker.as_deref().and_then(|id| id.parse().ok()).unwrap_or_default();
    (clip, split(speaker))
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
