//! The end of the process.
//!
//! Input: an exit code. Output: none; the process ends. Invariants: what was logged and printed is written, and nothing else runs: neither the handlers of
//! `atexit` nor the destructors of C++ objects. A thread that still loads or runs a model uses objects of ONNX Runtime that its destructors would
//! free, and the process would end by SIGSEGV in place of its exit code.

use std::io::Write as _;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::telemetry::stderr;

/// How long the end of the process waits for standard output.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Ends the process with an exit code.
pub fn exit(code: u8) -> ! {
    stderr::flush();
    flush_stdout();
    signal_hook::low_level::exit(i32::from(code))
}

/// Writes what is left of a line that was begun. A thread that waits for the reader of standard output may hold its lock, so the wait is limited.
fn flush_stdout() {
    let (flushed, is_flushed) = channel();
    let flushing = std::thread::Builder::new().spawn(move || {
        // The reader may have closed it.
        let _ = std::io::stdout().flush();
        // The other side may no longer wait.
        let _ = flushed.send(());
    });
    if flushing.is_ok() {
        // What cannot be written within the time is left.
        let _ = is_flushed.recv_timeout(LAST_OUTPUT);
    }
}
