//! The audio files of a dataset's folder, and those among them that cannot be clips.
//!
//! Input: a folder. Output: audio files in the order of their paths, and an [`ExcludedFile`] for each broken link, Git LFS
//! pointer and copy. Invariants: no file is left out without an [`ExcludedFile`], except hidden ones and those that are
//! not named as audio; of a file, only the first bytes are read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Clip, DatasetError};
use crate::audio::is_named_as_audio;

/// The first bytes of a Git LFS pointer, see <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// An audio file that is not used as a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedFile {
    /// The file.
    pub path: PathBuf,
    /// Why it is not used.
    pub reason: ExclusionReason,
}

/// Why a file is not used as a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExclusionReason {
    /// The name does not follow the dataset's pattern, which is given.
    UnknownName(&'static str),
    /// The clip is known to be damaged or wrongly labelled in the published dataset.
    KnownBad,
    /// A clip of the same name, which is given, is used already.
    Copy(PathBuf),
    /// The file is a symbolic link to a file that does not exist.
    BrokenLink,
    /// The file is a pointer of Git LFS, and its content was not downloaded.
    LfsPointer,
}

impl fmt::Display for ExclusionReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(expected) => write!(out, "expected {expected}"),
            Self::KnownBad => {
                out.write_str("damaged, or its audio also occurs in the dataset under another label")
            }
            Self::Copy(original) => write!(out, "same clip as {}", original.display()),
            Self::BrokenLink => out.write_str("a link to a file that does not exist"),
            Self::LfsPointer => {
                out.write_str("a Git LFS pointer, without the audio; `git lfs pull` downloads it")
            }
        }
    }
}

/// Lists the audio files inside `folder` and the folders inside it down to `depth` levels, in the order of their paths.
/// Hidden files and folders are skipped.
pub(super) fn audio_files(
    folder: &Path,
    depth: usize,
    excluded: &mut Vec<ExcludedFile>,
) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if is_hidden(&path) {
            continue;
        }
        if depth > 0 && path.is_dir() {
            files.append(&mut audio_files(&path, depth - 1, excluded)?);
        } else if is_named_as_audio(&path) && !path.is_dir() {
            match exclusion(&path) {
                Some(reason) => excluded.push(ExcludedFile { path, reason }),
                None => files.push(path),
            }
        }
    }
    Ok(files)
}

/// Returns the reason why a file cannot be a clip, whatever its name, if there is one.
pub(super) fn exclusion(path: &Path) -> Option<ExclusionReason> {
    if !path.exists() && path.is_symlink() {
        return Some(ExclusionReason::BrokenLink);
    }
    let mut start = [0; LFS_POINTER.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    (read.is_ok() && start == LFS_POINTER).then_some(ExclusionReason::LfsPointer)
}

/// Lists the folders directly inside `folder`, sorted, without hidden ones. A folder that cannot be read has none.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    let all = entries(folder).unwrap_or_default();
    all.into_iter().filter(|path| !is_hidden(path) && path.is_dir()).collect()
}

/// Lists the entries directly inside `folder`, sorted.
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

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

/// Returns the file's name without its extension and without the mark of a copy, such as ` (1)` or ` - Copy`.
pub(super) fn stem(path: &Path) -> String {
    let stem = path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    without_copy_mark(&stem).to_owned()
}

fn without_copy_mark(stem: &str) -> &str {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = stem.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    match numbered {
        Some((name, copy)) if number(copy) => without_copy_mark(name),
        _ => [" - Copy", " - copy", " copy"].iter().find_map(|mark| stem.strip_suffix(mark)).unwrap_or(stem),
    }
}

/// Returns one clip for each id, and excludes the others as copies. Of several files, the one without the mark of a copy is
/// used, else the first.
pub(super) fn without_copies(clips: Vec<Clip>, excluded: &mut Vec<ExcludedFile>) -> Vec<Clip> {
    let is_marked = |clip: &Clip| {
        let stem = clip.path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        without_copy_mark(&stem) != stem
    };
    let (marked, unmarked): (Vec<Clip>, Vec<Clip>) = clips.into_iter().partition(is_marked);
    let mut used: BTreeMap<String, Clip> = BTreeMap::new();
    for clip in unmarked.into_iter().chain(marked) {
        match used.entry(clip.id.clone()) {
            Entry::Vacant(place) => drop(place.insert(clip)),
            Entry::Occupied(used) => {
                let reason = ExclusionReason::Copy(used.get().path.clone());
                excluded.push(ExcludedFile { path: clip.path, reason });
            }
        }
    }
    used.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_copies_are_removed_from_names() {
        for (name, expected) in [
            ("1001_IEO_ANG_HI (1).wav", "1001_IEO_ANG_HI"),
            ("1001_IEO_ANG_HI (1) (12).wav", "1001_IEO_ANG_HI"),
            ("OAF_back_angry - Copy.wav", "OAF_back_angry"),
            ("OAF_back_angry copy.wav", "OAF_back_angry"),
            ("speech (live).wav", "speech (live)"),
            ("speech ().wav", "speech ()"),
        ] {
            assert_eq!(stem(Path::new(name)), expected);
        }
    }
}
