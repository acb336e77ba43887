//! A stopped run loses at most its current epoch, and the resumed run ends with the same result.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use affectd::train::Training;
use affectd::train::architecture::NetworkKind;
use affectd::train::fit::RunControl;
use affectd::train::optimizer::{Optimizer, collected};

use crate::support::train_fixture::{speech, training};

fn run_of(folder: &Path, checkpoint: Option<&Path>) -> Training {
    let control = RunControl { checkpoint: checkpoint.map(Path::to_owned), ..RunControl::default() };
    Training { control, ..training(speech(folder), NetworkKind::Cnn, Optimizer::AdamW, 7) }
}

/// Stops a run after its first epoch is saved.
fn stop_after_an_epoch(checkpoint: &Path, stopped: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (checkpoint, stopped) = (checkpoint.to_owned(), stopped.clone());
    std::thread::spawn(move || {
        while !checkpoint.exists() {
            std::thread::yield_now();
        }
        stopped.store(true, Ordering::Relaxed);
    })
}

#[test]
fn a_resumed_run_ends_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("run.checkpoint");
    let whole = run_of(folder.path(), None).run().unwrap();

    let first = run_of(folder.path(), Some(&checkpoint));
    let watcher = stop_after_an_epoch(&checkpoint, &first.control.stopped);
    let part = first.run().unwrap();
    watcher.join().unwrap();
    assert!(part.fitted.history.len() < whole.fitted.history.len(), "it was stopped");
    assert_eq!(part.fitted.history[0], whole.fitted.history[0]);

    let resumed = run_of(folder.path(), Some(&checkpoint)).run().unwrap();
    assert_eq!(resumed.fitted.history, whole.fitted.history);
    assert_eq!(collected(&resumed.fitted.network), collected(&whole.fitted.network));
}

#[test]
fn a_run_stopped_in_its_first_epoch_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_of(folder.path(), None);
    run.control.stopped.store(true, Ordering::Relaxed);
    let error = run.run().unwrap_err();
    assert!(format!("{error:#}").contains("stopped before the first epoch was complete"), "{error:#}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("run.checkpoint");
    let mut first = run_of(folder.path(), Some(&checkpoint));
    first.fit.epochs = 1;
    first.run().unwrap();
    let error = run_of(folder.path(), Some(&checkpoint)).run().unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("run.checkpoint") && text.contains("other data or settings"), "{text}");

    std::fs::write(&checkpoint, b"no checkpoint").unwrap();
    let error = run_of(folder.path(), Some(&checkpoint)).run().unwrap_err();
    assert!(format!("{error:#}").contains("run.checkpoint"), "{error:#}");
}
