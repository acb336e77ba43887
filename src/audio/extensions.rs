//! The extensions of audio files, by which files are chosen in a folder.
//!
//! Input: a path. Output: whether it is named as a recording. The format itself is recognised by the contents.

use std::path::Path;

/// The extensions of the containers that this module reads or refuses by name, in lower case.
pub const EXTENSIONS: [&str; 33] = [
    "wav", "wave", "bwf", "rf64", "w64", "flac", "mp3", "mp2", "ogg", "oga", "opus", "spx", "aif", "aiff",
    "aifc", "au", "snd", "caf", "m4a", "mp4", "aac", "webm", "mkv", "mka", "sph", "mov", "m4b", "3gp", "mp1",
    "amr", "wma", "ape", "wv",
];

/// Returns whether the extension of a path is one of [`EXTENSIONS`], in any case.
#[must_use]
pub fn is_named_as_audio(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}
