//! A content-addressed cache on disk for values that are computed from clips.
//!
//! Input: the bytes of a clip, and the settings that its values depend on. Output: the cached values, or newly computed
//! ones. Invariants: an entry is named by the hash of both inputs, so it is never stale; a truncated or corrupt entry is
//! computed again; entries are written to a temporary name and renamed, so that concurrent runs may share a folder;
//! entries are never removed.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use uuid::Uuid;

/// The version of the stored values; it is part of every entry's name.
const VERSION: u32 = 1;
/// The UUID namespace of entries; an arbitrary constant.
const ENTRIES: Uuid = Uuid::from_u128(0x2f0d_9a44_51c7_4b6e_9c11_d0a3_6be8_47f5);
/// The magic bytes at the start of each entry.
const MAGIC: &[u8; 4] = b"aff1";
/// The size of an entry's header, in bytes: magic bytes, length of the content, hash of the content.
const HEAD: usize = 4 + 8 + 16;

/// A cache folder for one set of settings.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    settings: Uuid,
}

impl Cache {
    /// Opens the cache in `folder`, which is created where it does not exist. `settings` are part of every entry's name.
    ///
    /// # Errors
    /// Returns an error where the folder cannot be created.
    pub fn open(folder: &Path, settings: &serde_json::Value) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("create the cache folder {}", folder.display()))?;
        let settings = Uuid::new_v5(&ENTRIES, format!("{VERSION} {settings}").as_bytes());
        Ok(Self { folder: folder.to_owned(), settings })
    }

    /// Returns the cached value of `bytes`, or computes and stores it. A value that cannot be stored is returned all the
    /// same, and the next run computes it again.
    ///
    /// # Errors
    /// Returns the error of `compute`.
    pub fn get_or<T: Entry, E>(
        &self,
        bytes: &[u8],
        compute: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.folder.join(Uuid::new_v5(&self.settings, bytes).simple().to_string());
        if let Some(found) = read(&path) {
            return Ok(found);
        }
        let value = compute(bytes)?;
        if let Err(error) = write(&path, &value.to_bytes()) {
            tracing::debug!(entry = %path.display(), %error, "cannot write to the cache");
        }
        Ok(value)
    }
}

/// A value that can be stored in a cache.
pub trait Entry: Sized {
    /// Serializes the value.
    fn to_bytes(&self) -> Vec<u8>;
    /// Deserializes a value; `None` where the bytes are invalid.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Returns the user's cache folder by the XDG Base Directory Specification, or `None` without a home folder.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("affectd").join("features"))
}

fn read<T: Entry>(path: &Path) -> Option<T> {
    let stored = std::fs::read(path).ok()?;
    let (head, content) = stored.split_at_checked(HEAD)?;
    (head == self::head(content)).then(|| T::from_bytes(content)).flatten()
}

fn head(content: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(MAGIC);
    head[4..12].copy_from_slice(&(content.len() as u64).to_le_bytes());
    head[12..].copy_from_slice(Uuid::new_v5(&ENTRIES, content).as_bytes());
    head
}

/// Writes an entry to a temporary name and renames it, so that another run never reads a partial entry.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(Uuid::new_v4().simple().to_string());
    let written = std::fs::File::create_new(&partial)
        .and_then(|mut file| {
            file.write_all(&head(content))?;
            file.write_all(content)
        })
        .and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}
