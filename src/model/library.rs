//! Finds and loads ONNX Runtime, once a process.
//!
//! In: `engine.library`, `ORT_DYLIB_PATH`, the executable's place. Out: the one environment that all sessions
//! share, with telemetry off. Never downloads, and never falls back from a library that was named.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

/// Why there is no ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The library that was named does not load.
    #[error("load ONNX Runtime from {}, which {named_by} names: {reason}", path.display())]
    Named {
        /// The library.
        path: PathBuf,
        /// The setting that names it.
        named_by: &'static str,
        /// What the operating system says.
        reason: String,
    },
    /// None of the usual places has one that loads.
    #[error(
        "find ONNX Runtime 1.24 or newer: looked for {}; set engine.library or ORT_DYLIB_PATH to a libonnxruntime, \
         as the Python package onnxruntime has one in onnxruntime/capi",
        looked.join(", ")
    )]
    NotFound {
        /// Each place, with the reason where there was one.
        looked: Vec<String>,
    },
    /// A process can load one library, and another one is in use.
    #[error("load ONNX Runtime from {}: this process uses {} already", wanted.display(), loaded.display())]
    Other {
        /// What was asked for.
        wanted: PathBuf,
        /// What is loaded.
        loaded: PathBuf,
    },
    /// The library loads and does not start.
    #[error("start ONNX Runtime from {}: {reason}", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
}

/// ONNX Runtime, loaded and started.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// What sessions are made from.
    pub environment: Environment,
    /// The library's file, or its bare name where the system found it.
    pub path: PathBuf,
}

/// A library that loaded can't be unloaded, so the first success is for good; failures are tried again.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads ONNX Runtime from the first of: `configured`, `ORT_DYLIB_PATH` (either one is final where it is set),
    /// beside the executable, `lib/` and `../lib/` next to it, the system's.
    ///
    /// # Errors
    /// Where it was looked for, and the operating system's reason.
    pub fn load(configured: Option<&Path>) -> Result<Self, LibraryError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let named = named(configured, std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from));
        if let Some(runtime) = &*loaded {
            return match named {
                Some((path, _)) if !same_file(&path, &runtime.path) => {
                    Err(LibraryError::Other { wanted: path, loaded: runtime.path.clone() })
                }
                _ => Ok(runtime.clone()),
            };
        }
        let runtime = match named {
            Some((path, named_by)) => {
                start(&path)?.map_err(|reason| LibraryError::Named { path, named_by, reason })?
            }
            None => first_that_loads(candidates(std::env::current_exe().ok().as_deref()))?,
        };
        tracing::debug!(library = %runtime.path.display(), "loaded ONNX Runtime");
        Ok(loaded.insert(runtime).clone())
    }
}

fn named(configured: Option<&Path>, variable: Option<PathBuf>) -> Option<(PathBuf, &'static str)> {
    let configured = configured.map(|path| (path.to_owned(), "engine.library"));
    let variable = variable.filter(|path| !path.as_os_str().is_empty()).map(|path| (path, "ORT_DYLIB_PATH"));
    configured.or(variable).map(|(path, by)| (std::path::absolute(&path).unwrap_or(path), by))
}

/// The usual places, nearest first. A bare name is the system's to find.
fn candidates(executable: Option<&Path>) -> Vec<PathBuf> {
    let file = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    let beside = executable.and_then(Path::parent);
    let mut places: Vec<PathBuf> = beside
        .map(|folder| [folder.join(&file), folder.join("lib").join(&file), folder.join("../lib").join(&file)])
        .into_iter()
        .flatten()
        .collect();
    places.push(PathBuf::from(&file));
    if cfg!(target_os = "linux") {
        places.push(PathBuf::from(format!("{file}.1")));
    }
    places
}

fn first_that_loads(places: Vec<PathBuf>) -> Result<Runtime, LibraryError> {
    let mut looked = Vec::new();
    for path in places {
        let system = path.components().count() == 1;
        if !system && !path.is_file() {
            looked.push(path.display().to_string());
            continue;
        }
        match start(&path)? {
            Ok(runtime) => return Ok(runtime),
            Err(reason) if system && reason.contains("No such file") => {
                looked.push(format!("{} among the system's libraries", path.display()));
            }
            Err(reason) => looked.push(format!("{} ({reason})", path.display())),
        }
    }
    Err(LibraryError::NotFound { looked })
}

/// Loads and starts one library; the inner error is a library that does not load.
fn start(path: &Path) -> Result<Result<Runtime, String>, LibraryError> {
    let builder = match ort::init_from(path) {
        Ok(builder) => builder,
        Err(error) => return Ok(Err(reason(&error))),
    };
    let environment = builder
        .with_name("affectd")
        .with_telemetry(false)
        .build()
        .map_err(|error| LibraryError::Start { path: path.to_owned(), reason: error.to_string() })?;
    environment.set_log_level(ort::logging::LogLevel::Warning);
    Ok(Ok(Runtime { environment, path: path.to_owned() }))
}

/// The operating system's words, which only the debug form of a failed load shows.
fn reason(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => format!("{error:?}"),
        other => other.to_string(),
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_comes_before_the_environment_variable() {
        let both = named(Some(Path::new("/a")), Some("/b".into()));
        assert_eq!(both, Some(("/a".into(), "engine.library")));
        assert_eq!(named(None, Some("/b".into())), Some(("/b".into(), "ORT_DYLIB_PATH")));
        assert_eq!(named(None, Some("".into())), None);
    }

    #[test]
    fn the_nearest_place_is_looked_at_first() {
        let places = candidates(Some(Path::new("/opt/affectd/bin/affectd")));
        let file = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
        assert_eq!(places[0], Path::new("/opt/affectd/bin").join(&file));
        assert_eq!(places[1], Path::new("/opt/affectd/bin/lib").join(&file));
        assert_eq!(places[2], Path::new("/opt/affectd/bin/../lib").join(&file));
        assert_eq!(places[3], Path::new(&file));
    }

    #[test]
    fn where_none_loads_every_place_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("libonnxruntime.so");
        std::fs::write(&text, "not a library").unwrap();
        let error = first_that_loads(vec!["/nowhere/libonnxruntime.so".into(), text.clone()]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("/nowhere/libonnxruntime.so"), "{message}");
        assert!(message.contains(&format!("{} (", text.display())), "{message}");
        assert!(message.contains("engine.library"), "{message}");
    }
}
