//! Standard error for logs, written by a thread of its own.
//!
//! Input: lines of any thread. Output: the same on standard error. Invariants: logging never waits and never fails. Where standard error is closed its lines
//! are dropped; where it is full, as a pipe without a reader, at most [`WAITING`] lines wait and the others are dropped. The number is written once lines
//! can be written again.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait at most.
const WAITING: usize = 8_192;
/// How long the end of the process waits for lines that were not written.
const LAST_LINES: Duration = Duration::from_secs(1);

static LINES: OnceLock<Option<SyncSender<Item>>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Item {
    Line(Vec<u8>),
    /// Answered once every line before it is written.
    Flush(SyncSender<()>),
}

/// A writer of whole lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let sent = sender().is_some_and(|lines| lines.try_send(Item::Line(line.to_vec())).is_ok());
        if !sent {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line, after all lines before it, and waits until it is written, at most for a second.
pub(crate) fn write_last(line: &str) {
    // Stderr never fails.
    let _ = Stderr.write(format!("{line}\n").as_bytes());
    flush();
}

/// Waits until all lines are written, at most for a second.
pub(crate) fn flush() {
    let (written, all_written) = sync_channel(1);
    if sender().is_some_and(|lines| lines.try_send(Item::Flush(written)).is_ok()) {
        // Lines that cannot be written within the time are left.
        let _ = all_written.recv_timeout(LAST_LINES);
    }
}

fn sender() -> Option<&'static SyncSender<Item>> {
    LINES.get_or_init(start).as_ref()
}

/// Starts the thread; without one there are no logs.
fn start() -> Option<SyncSender<Item>> {
    let (lines, inbox) = sync_channel(WAITING);
    let thread = std::thread::Builder::new().name("stderr".to_owned());
    thread.spawn(move || write_all(&inbox)).ok().map(|_| lines)
}

fn write_all(inbox: &Receiver<Item>) {
    let mut stderr = io::stderr();
    for item in inbox {
        match item {
            // Where no reader is left, lines are dropped.
            Item::Line(line) => _ = stderr.write_all(&line),
            // The other side may no longer wait.
            Item::Flush(written) => _ = written.try_send(()),
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(stderr, "{dropped} lines of the log were dropped: standard error was full");
        }
    }
}
