//! CPU time of this process and of the calling thread, from the kernel's CPU clocks.
//!
//! Output: the CPU time since the process or thread began. Invariants: time spent waiting is not counted.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time of all threads of this process, including ended ones.
#[must_use]
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Returns the CPU time of the calling thread.
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
    fn both_clocks_advance_with_work() {
        let (process, thread) = (process_cpu(), thread_cpu());
        let sum = (0..200_000_u64).fold(0, |sum: u64, n| std::hint::black_box(sum.wrapping_add(n * n)));
        assert_ne!(sum, 0);
        assert!(thread_cpu() > thread, "the thread worked");
        assert!(process_cpu() > process, "so did its process");
    }
}
