//! Handling of Ctrl-C during training.
//!
//! Input: SIGINT. Output: the stop flag of the run. Invariants: the first signal stops the run and keeps its best epoch;
//! the second ends the process, as does the first where no epoch is complete.

use std::sync::atomic::Ordering;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::exit;
use crate::train::fit::RunControl;

/// The exit code: 128 plus the number of SIGINT, as in shells.
const INTERRUPTED: u8 = 130;

/// Installs the signal handler; it is active when the function returns.
///
/// # Errors
/// Returns an error where the handler cannot be installed.
pub(super) fn stop_on_interrupt(control: RunControl) -> std::io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        while interrupts.recv().await.is_some() {
            if !control.has_best.load(Ordering::Relaxed) {
                eprintln!("\nstopped before the first epoch was complete: no model is written");
                exit(INTERRUPTED);
            }
            if control.stopped.swap(true, Ordering::Relaxed) {
                exit(INTERRUPTED);
            }
            eprintln!(
                "\nstopping the run, its best epoch is kept; press Ctrl-C again to end without a model"
            );
        }
    });
    Ok(())
}
