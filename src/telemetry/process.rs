//! CPU time and memory of another process, from Linux's `/proc`.
//!
//! Input: a process id. Output: its CPU time so far and its peak resident memory. Invariants: the process itself is not
//! affected.

use std::time::Duration;

/// Why the resource use of a process cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no process with this id.
    #[error("process {pid} does not exist")]
    Gone {
        /// The process id.
        pid: u32,
    },
    /// A file under `/proc` cannot be read.
    #[error("read /proc/{pid}/{file}: {reason}")]
    Unreadable {
        /// The process id.
        pid: u32,
        /// The file.
        file: &'static str,
        /// The cause.
        reason: String,
    },
    /// The operating system is not Linux.
    #[error("watch process {pid}: the resource use of another process is available only on Linux")]
    Unsupported {
        /// The process id.
        pid: u32,
    },
}

/// The resources that a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessUse {
    /// The user and system time of all threads, with the resolution of the kernel's clock tick (10 ms).
    pub cpu: Duration,
    /// The peak resident memory since the process began.
    pub peak_memory_bytes: u64,
}

impl ProcessUse {
    /// Reads the resource use of process `pid`.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        if !cfg!(target_os = "linux") {
            return Err(ProcessError::Unsupported { pid });
        }
        let unreadable =
            |file, reason: &str| ProcessError::Unreadable { pid, file, reason: reason.to_owned() };
        let ticks = ticks_of(&text(pid, "stat")?).ok_or_else(|| unreadable("stat", "no CPU times"))?;
        let status = text(pid, "status")?;
        let peak =
            peak_bytes_of(&status).ok_or_else(|| unreadable("status", "no VmHWM, the process has ended"))?;
        let tick = rustix::param::clock_ticks_per_second();
        Ok(Self { cpu: Duration::from_secs_f64(ticks as f64 / tick as f64), peak_memory_bytes: peak })
    }
}

fn text(pid: u32, file: &'static str) -> Result<String, ProcessError> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ProcessError::Gone { pid },
        _ => ProcessError::Unreadable { pid, file, reason: error.to_string() },
    })
}

/// Returns the sum of fields 14 and 15 (utime, stime) of proc_pid_stat(5). Field 2, the name, may contain spaces and
/// parentheses and ends at the last parenthesis.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Returns `VmHWM` of proc_pid_status(5), in bytes; the file has it in kibibytes.
fn peak_bytes_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_skipped() {
        let stat = "42 (a) (b c) S 1 42 42 0 -1 4194560 900 0 0 0 150 25 7 8 20 0 9 0 123";
        assert_eq!(ticks_of(stat), Some(175));
        assert_eq!(ticks_of("42 (cut off) S 1"), None);
    }

    #[test]
    fn the_peak_is_in_bytes() {
        assert_eq!(peak_bytes_of("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_bytes_of("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_exists_and_an_impossible_one_does_not() {
        let own = ProcessUse::of(std::process::id()).unwrap();
        assert!(own.peak_memory_bytes > 1 << 20, "{own:?}");
        let error = ProcessUse::of(u32::MAX).unwrap_err();
        assert!(matches!(error, ProcessError::Gone { pid: u32::MAX }), "{error}");
    }
}
