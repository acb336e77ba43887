//! A stage of the daemon as a task: it runs until it is cancelled, or fails.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::DaemonError;

/// The task of a stage. `ended` is true once the task has ended without being cancelled. Dropping it cancels the stage, so a start that fails leaves none
/// running.
pub(super) struct Task<T> {
    handle: JoinHandle<T>,
    stop: CancellationToken,
    pub ended: bool,
}

impl<T: Send + 'static> Task<T> {
    pub fn spawn<F: Future<Output = T> + Send + 'static>(run: impl FnOnce(CancellationToken) -> F) -> Self {
        let stop = CancellationToken::new();
        Self { handle: tokio::spawn(run(stop.clone())), stop, ended: false }
    }

    pub fn spawn_blocking(run: impl FnOnce(CancellationToken) -> T + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let own = stop.clone();
        Self { handle: tokio::task::spawn_blocking(move || run(own)), stop, ended: false }
    }

    /// Cancels the stage and waits for its result; returns `None` where it had ended before.
    pub async fn finish(&mut self) -> Option<T> {
        if self.ended {
            return None;
        }
        self.stop.cancel();
        let ended = (&mut self.handle).await.ok();
        self.ended = true;
        ended
    }
}

impl<T> Task<T> {
    /// Waits until the stage ends without being cancelled, and drops its result.
    pub async fn stopped(&mut self) {
        let _ = (&mut self.handle).await;
        self.ended = true;
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<E> Task<Result<(), E>>
where
    DaemonError: From<E>,
{
    /// Waits until the stage ends without being cancelled, and returns that as an error.
    pub async fn ended(&mut self, name: &'static str) -> DaemonError {
        let outcome = (&mut self.handle).await;
        self.ended = true;
        match outcome {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) | Err(_) => DaemonError::Stage(name),
        }
    }
}
