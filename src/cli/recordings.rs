//! The recordings that a command names: files, folders, and `-` for standard input.
//!
//! Input: the arguments of a command. Output: the files in order, and their decoded samples or bytes. Invariants: a file in
//! a folder that is left out is counted in the log.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::UsageError;
use crate::audio::{self, AudioFile, Recording};

/// The name that stands for standard input.
const STDIN: &str = "-";

/// Replaces each folder by its recordings, those of the folders inside it included, in the order of their paths.
///
/// # Errors
/// A folder that cannot be read or has no recordings, and standard input that is named twice.
pub(super) fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(UsageError("-: standard input can be read only once".to_owned()).into());
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (mut found, mut others) = (Vec::new(), 0);
        collect(path, &mut found, &mut others)?;
        if found.is_empty() {
            anyhow::bail!(
                "{}: the folder has no recordings (by extension: {})",
                path.display(),
                audio::EXTENSIONS.join(", ")
            );
        }
        if others > 0 {
            tracing::warn!(
                "{}: {others} files are not read, because their extensions are not those of recordings",
                path.display()
            );
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Collects the recordings below a folder, and counts the other files. Hidden files are neither.
fn collect(folder: &Path, found: &mut Vec<PathBuf>, others: &mut usize) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry.with_context(|| folder.display().to_string())?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A link to a folder is not followed, because it may lead back to a folder above.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, found, others)?;
        } else if audio::is_named_as_audio(&path) {
            found.push(path);
        } else {
            *others += 1;
        }
    }
    Ok(())
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Returns the name of a recording in messages.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Returns a file's name without folder and extension; `stdin` for standard input.
pub(super) fn stem(path: &Path) -> String {
    if is_stdin(path) {
        return "stdin".to_owned();
    }
    path.file_stem().map_or_else(|| "stream".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Decodes a file, or standard input up to its end.
///
/// # Errors
/// A file that cannot be read or decoded; the message begins with its name.
pub(super) fn decode(path: &Path) -> anyhow::Result<Recording> {
    if is_stdin(path) {
        return Ok(audio::decode_open(stdin()?, &name(path))?);
    }
    Ok(audio::decode_file(path)?)
}

/// Checks a file, or standard input up to its end, to be decoded block by block.
///
/// # Errors
/// A file that cannot be read or decoded; the message begins with its name.
pub(super) fn open(path: &Path) -> anyhow::Result<AudioFile> {
    if is_stdin(path) {
        return Ok(AudioFile::of_open(stdin()?, &name(path))?);
    }
    Ok(AudioFile::open(path)?)
}

/// Returns standard input as a file.
fn stdin() -> anyhow::Result<File> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    Ok(stdin.context("standard input")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_replaced_by_its_recordings_in_order_and_files_stay() {
        let folder = folder(&["b.WAV", "a/z.opus", "notes.txt", ".hidden.wav", "c.mp3"]);
        let named = |name: &str| folder.path().join(name);
        let files = expand(&[PathBuf::from("x.bin"), folder.path().into(), "-".into()]).unwrap();
        let expected = ["x.bin".into(), named("a/z.opus"), named("b.WAV"), named("c.mp3"), "-".into()];
        assert_eq!(files, expected);
    }

    #[test]
    fn a_folder_without_recordings_and_standard_input_twice_are_errors() {
        let folder = folder(&["notes.txt"]);
        let error = expand(&[folder.path().into()]).unwrap_err().to_string();
        assert!(error.contains("no recordings") && error.contains("wav, "), "{error}");
        assert!(expand(&["-".into(), "-".into()]).unwrap_err().is::<UsageError>());
    }
}
