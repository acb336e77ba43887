//! Ctrl-C while a model is trained.
//!
//! In: signals. Out: a flag that the run looks at. Ends the process on the second one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first Ctrl-C ends the run and keeps its best epoch; the second one ends the process.
pub(super) fn stop_on_interrupt(stopped: Arc<AtomicBool>) {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if stopped.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("ending the run; once more to end it without a model");
        }
    });
}
