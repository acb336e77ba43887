//! Content of files that is loaded again when a file changes.
//!
//! Input: the paths and a function that loads them. Output: the present content. Invariants: the first load must succeed; a later one that fails keeps the
//! previous content, and each change is tried once. The files are polled, because notifications of the operating system miss mounted folders and replaced
//! symbolic links.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::SecurityError;
use super::file::{FileState, state};
use crate::telemetry::metrics;

/// How often the files are checked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Content that follows its files. Clones share it; the files are no longer checked once the last clone is dropped.
#[derive(Debug)]
pub(super) struct Reloaded<T>(watch::Receiver<Arc<T>>);

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Loads the files, and again whenever one of them changes. `kind` names the content in logs and metrics. Requires a runtime.
    ///
    /// # Errors
    /// Returns the error of the first load.
    pub fn start(
        kind: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, SecurityError> + Send + Sync + 'static,
    ) -> Result<Self, SecurityError> {
        let tried = states(&files);
        let (sender, receiver) = watch::channel(Arc::new(load()?));
        tokio::spawn(follow(
            kind,
            Files { paths: files, last: tried.clone(), tried },
            Arc::new(load),
            sender,
        ));
        Ok(Self(receiver))
    }

    /// Returns the present content.
    pub fn current(&self) -> Arc<T> {
        self.0.borrow().clone()
    }
}

/// The files and their states.
struct Files {
    paths: Vec<PathBuf>,
    /// The states when the files were last loaded, or tried.
    tried: Vec<FileState>,
    /// The states at the last check.
    last: Vec<FileState>,
}

impl Files {
    /// Returns whether a file differs from what was tried last and all have stayed the same since the last check, so that none is still being written.
    fn have_changed(&mut self) -> bool {
        let now = states(&self.paths);
        let stable = now == self.last;
        self.last.clone_from(&now);
        if !stable || now == self.tried {
            return false;
        }
        self.tried = now;
        true
    }
}

fn states(files: &[PathBuf]) -> Vec<FileState> {
    files.iter().map(|path| state(path)).collect()
}

/// Checks the files until the last receiver is dropped.
async fn follow<T: Send + Sync + 'static>(
    kind: &'static str,
    mut files: Files,
    load: Arc<impl Fn() -> Result<T, SecurityError> + Send + Sync + 'static>,
    sender: watch::Sender<Arc<T>>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sender.closed() => return,
        }
        if !files.have_changed() {
            continue;
        }
        let load = load.clone();
        match tokio::task::spawn_blocking(move || load()).await {
            Ok(Ok(content)) => {
                sender.send_replace(Arc::new(content));
                metrics::security_reload(kind, "ok");
                tracing::info!(kind, "reloaded the files of a security setting");
            }
            Ok(Err(error)) => {
                metrics::security_reload(kind, "failed");
                tracing::warn!(kind, %error, "the previous content of a changed file stays in use");
            }
            Err(_) => metrics::security_reload(kind, "failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn length(path: &Path) -> Result<usize, SecurityError> {
        match super::super::file::read("tls.cert", path)?.len() {
            0 => Err(SecurityError::new("tls.cert", path, "is empty")),
            length => Ok(length),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_replaces_the_content_and_an_invalid_one_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let of = path.clone();
        let reloaded = Reloaded::start("certificate", vec![path.clone()], move || length(&of)).unwrap();
        let mut changes = reloaded.0.clone();
        assert_eq!(*reloaded.current(), 3);
        std::fs::write(&path, "longer").unwrap();
        changes.changed().await.unwrap();
        assert_eq!(*reloaded.current(), 6);
        std::fs::write(&path, "").unwrap();
        tokio::time::sleep(INTERVAL * 5).await;
        assert_eq!(*reloaded.current(), 6);
        std::fs::write(&path, "again").unwrap();
        changes.changed().await.unwrap();
        assert_eq!(*reloaded.current(), 5);
    }

    #[tokio::test]
    async fn a_first_load_that_fails_is_an_error() {
        let path = Path::new("/nonexistent/file");
        let error = Reloaded::start("certificate", vec![path.to_owned()], || length(path)).unwrap_err();
        assert_eq!((error.key, error.path.as_path()), ("tls.cert", path));
    }
}
