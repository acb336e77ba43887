//! Features kept on disk from one run to the next.
//!
//! In: a clip's bytes, and the settings that its features depend on. Out: what was computed of them before, or nothing.
//! An entry is named by the hash of both, so that it is never out of date; one that is cut short or spoilt is computed
//! anew. Entries are written under another name and renamed, so that runs may share a folder. Never removes an entry.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use uuid::Uuid;

/// Changes when what is stored does.
const VERSION: u32 = 1;
/// Names entries; any constant would do.
const ENTRIES: Uuid = Uuid::from_u128(0x2f0d_9a44_51c7_4b6e_9c11_d0a3_6be8_47f5);
/// Begins each entry.
const MARK: &[u8; 4] = b"aff1";
/// Bytes before the content: the mark, the content's length, its hash.
const HEAD: usize = 4 + 8 + 16;

/// A folder of entries for one set of settings.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    settings: Uuid,
}

impl Cache {
    /// Entries in `folder`, which is made if it is not there. `settings` tells apart what the same bytes may become.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(folder: &Path, settings: &serde_json::Value) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make the cache {}", folder.display()))?;
        let settings = Uuid::new_v5(&ENTRIES, format!("{VERSION} {settings}").as_bytes());
        Ok(Self { folder: folder.to_owned(), settings })
    }

    /// What is stored of `bytes`, else what `compute` makes of them, which is then stored. An entry that cannot be
    /// written costs the next run its time and nothing else.
    ///
    /// # Errors
    /// That of `compute`.
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

/// What can be stored.
pub trait Entry: Sized {
    /// As it is stored.
    fn to_bytes(&self) -> Vec<u8>;
    /// From what was stored; `None` where that is none.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// The user's cache folder by the XDG Base Directory Specification; `None` without a home.
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
    head[..4].copy_from_slice(MARK);
    head[4..12].copy_from_slice(&(content.len() as u64).to_le_bytes());
    head[12..].copy_from_slice(Uuid::new_v5(&ENTRIES, content).as_bytes());
    head
}

/// Under a name of its own first: no other run meets half an entry.
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
