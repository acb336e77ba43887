//! Finding and loading of the ONNX Runtime library.
//!
//! Input: `engine.library`, `ORT_DYLIB_PATH` and the path of the executable. Output: the one environment that all
//! sessions of the process share, with telemetry off. Invariants: nothing is downloaded, and a library that is named
//! explicitly is used or is an error.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The explicitly named library does not load.
    #[error("load ONNX Runtime from {}, which {named_by} names: {reason}", path.display())]
    Named {
        /// The path of the library.
        path: PathBuf,
        /// The configuration key or environment variable that names it.
        named_by: &'static str,
        /// The operating system's error.
        reason: String,
    },
    /// None of the default locations holds a library that loads.
    #[error(
        "find ONNX Runtime 1.24 or newer: searched {}; set engine.library or ORT_DYLIB_PATH to a libonnxruntime, \
         such as the one in onnxruntime/capi of the Python package onnxruntime",
        searched.join(", ")
    )]
    NotFound {
        /// Each location, with the reason where the library exists and does not load.
        searched: Vec<String>,
    },
    /// Another library is loaded already; a process can load only one.
    #[error("load ONNX Runtime from {}: this process uses {} already", wanted.display(), loaded.display())]
    Other {
        /// The requested library.
        wanted: PathBuf,
        /// The loaded library.
        loaded: PathBuf,
    },
    /// The library loads, and its environment cannot be created.
    #[error("start ONNX Runtime from {}: {reason}", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// ONNX Runtime's error.
        reason: String,
    },
}

/// The loaded ONNX Runtime library and its environment.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The environment that sessions are created in.
    pub environment: Environment,
    /// The path of the library, or its file name where the dynamic loader found it.
    pub path: PathBuf,
}

/// The loaded library. A library cannot be unloaded, so the first success is kept for the life of the process; a
/// failure is not kept, and the next call tries again.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads ONNX Runtime, or returns the library that is loaded already.
    ///
    /// The locations are, in this order: `configured`; `ORT_DYLIB_PATH`; the folder of the executable; `lib/` and `../lib/`
    /// beside it; the dynamic loader's own search path. There is no fallback from the first two where they are set.
    ///
    /// # Errors
    /// Returns the locations that were searched and the operating system's errors.
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

/// Returns the default locations, nearest first. A bare file name is resolved by the dynamic loader.
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
    let mut searched = Vec::new();
    for path in places {
        let system = path.components().count() == 1;
        if !system && !path.is_file() {
            searched.push(path.display().to_string());
            continue;
        }
        match start(&path)? {
            Ok(runtime) => return Ok(runtime),
            Err(reason) if system && reason.contains("No such file") => {
                searched.push(format!("{} among the system's libraries", path.display()));
            }
            Err(reason) => searched.push(format!("{} ({reason})", path.display())),
        }
    }
    Err(LibraryError::NotFound { searched })
}

/// Loads one library and creates its environment. The inner error is the reason why the library does not load; the
/// search continues after it, while the outer error ends the search.
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

/// Returns the operating system's error, which only the `Debug` form of a failed load contains.
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
    fn the_nearest_location_comes_first() {
        let places = candidates(Some(Path::new("/opt/affectd/bin/affectd")));
        let file = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
        assert_eq!(places[0], Path::new("/opt/affectd/bin").join(&file));
        assert_eq!(places[1], Path::new("/opt/affectd/bin/lib").join(&file));
        assert_eq!(places[2], Path::new("/opt/affectd/bin/../lib").join(&file));
        assert_eq!(places[3], Path::new(&file));
    }

    #[test]
    fn the_error_lists_every_searched_location() {
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
