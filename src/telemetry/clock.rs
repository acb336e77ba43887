//! CPU time of this process and of the calling thread, by the kernel's own clocks.
//!
//! In: nothing. Out: time since process or thread began. Never wall time: what waits costs nothing here.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process, ended ones included.
#[must_use]
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().expect("a CPU clock is never negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_on_both_clocks() {
        let (process, thread) = (process_cpu(), thread_cpu());
        let sum = (0..200_000_u64).fold(0, |sum: u64, n| std::hint::black_box(sum.wrapping_add(n * n)));
        assert_ne!(sum, 0);
        assert!(thread_cpu() > thread, "the thread worked");
        assert!(process_cpu() > process, "so did its process");
    }
}
