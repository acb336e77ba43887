//! The cache of features: entries are read back, corrupt ones are recomputed, and runs share a folder.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use affectd::datasets::{Split, load};
use affectd::train::architecture::NetworkKind;
use affectd::train::cache::{Cache, Entry};
use affectd::train::corpus::{Corpus, Recipe};

use crate::support::train_fixture::{labels, speech};

/// A text whose creation is counted.
#[derive(Debug, Clone, PartialEq)]
struct Text(String);

impl Entry for Text {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        String::from_utf8(bytes.to_vec()).ok().map(Text)
    }
}

fn open(folder: &Path, settings: &str) -> Cache {
    Cache::open(folder, &settings.into()).unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Returns the entry of the cache for some bytes, and whether it was computed.
fn ask(cache: &Cache, bytes: &str) -> (String, bool) {
    let computed = Cell::new(false);
    let value = cache.get_or::<Text, ()>(bytes.as_bytes(), |bytes| {
        computed.set(true);
        Ok(Text(format!("made of {}", String::from_utf8_lossy(bytes))))
    });
    (value.unwrap().0, computed.get())
}

#[test]
fn an_entry_is_computed_once_for_the_same_bytes_and_settings() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), "a");
    assert_eq!(ask(&cache, "clip"), ("made of clip".into(), true));
    assert_eq!(ask(&cache, "clip"), ("made of clip".into(), false));
    assert_eq!(ask(&open(folder.path(), "a"), "clip"), ("made of clip".into(), false));
    assert!(ask(&cache, "other clip").1);
    assert!(ask(&open(folder.path(), "b"), "clip").1);
    assert_eq!(entries(folder.path()).len(), 3, "and nothing unfinished is left");
}

#[test]
fn a_corrupt_entry_is_recomputed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), "a");
    ask(&cache, "clip");
    let entry = entries(folder.path()).remove(0);
    let good = std::fs::read(&entry).unwrap();
    for at in 0..good.len() {
        let mut spoilt = good.clone();
        spoilt[at] ^= 1;
        for bytes in [&spoilt[..], &good[..at]] {
            std::fs::write(&entry, bytes).unwrap();
            assert_eq!(ask(&cache, "clip"), ("made of clip".into(), true), "byte {at}");
            assert_eq!(std::fs::read(&entry).unwrap(), good);
        }
    }
}

#[test]
fn a_failure_is_not_stored_and_a_missing_folder_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("deep/cache");
    let cache = open(&inside, "a");
    assert_eq!(cache.get_or::<Text, _>(b"clip", |_| Err("broken")), Err("broken"));
    assert!(entries(&inside).is_empty());
    std::fs::remove_dir_all(&inside).unwrap();
    assert_eq!(ask(&cache, "clip"), ("made of clip".into(), true));
}

#[test]
fn concurrent_runs_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = open(folder.path(), "a");
                for index in 0..200 {
                    let bytes = format!("clip {}", index % 50);
                    assert_eq!(ask(&cache, &bytes).0, format!("made of {bytes}"));
                }
            });
        }
    });
    assert_eq!(entries(folder.path()).len(), 50);
}

#[test]
fn a_cached_corpus_equals_the_computed_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let clips = load(&speech(folder.path()), Split::Test).unwrap();
    let read = |recipe: &Recipe| Corpus::read(&clips, &labels(), recipe, "test").unwrap();
    let plain = Recipe { keep_samples: true, ..Recipe::of(NetworkKind::Dense) };
    let cached = Recipe { cache: Some(folder.path().join("cache")), ..plain.clone() };
    let [wanted, first, second] = [&plain, &cached, &cached].map(read);
    assert_eq!(wanted, first);
    assert_eq!(wanted, second);
    assert_eq!(entries(&folder.path().join("cache")).len(), clips.len());
    let without_samples = Recipe { keep_samples: false, ..cached };
    assert!(read(&without_samples).windows.iter().all(|window| window.samples.is_empty()));
}
