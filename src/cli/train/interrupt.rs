//! Ctrl-C while a model is trained.
//!
//! In: signals. Out: a flag that the run looks at. Ends the process on the second one, and at once where no epoch is
//! done that could be kept.

use std::sync::atomic::Ordering;

use tokio::signal::unix::{SignalKind, signal};

use crate::train::fit::RunControl;

/// As shells have it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// The first Ctrl-C ends the run and keeps its best epoch; the second one ends the process.
///
/// # Errors
/// Signals that cannot be caught. Once this is back they are.
pub(super) fn stop_on_interrupt(control: RunControl) -> std::io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        while interrupts.recv().await.is_some() {
            if !control.has_best.load(Ordering::Relaxed) {
                eprintln!("\nended before the first epoch was done: no model is written");
                std::process::exit(INTERRUPTED);
            }
            if control.stopped.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
            eprintln!("\nending the run with its best epoch; once more to end it without a model");
        }
    });
    Ok(())
}
