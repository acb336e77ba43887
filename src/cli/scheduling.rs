//! The Linux scheduling policy of the daemon's threads (`limits.scheduling`).
//!
//! Output: the policy `SCHED_BATCH` (sched(7)) for the calling thread and all threads that it starts later.
//!
//! By default, a thread that wakes up may preempt a running one. A gRPC task wakes up for every chunk and would interrupt
//! inference in the middle of a run, whose working set would then leave the CPU caches. Under `SCHED_BATCH` the woken
//! thread waits for the time slice of the running one to end, a few milliseconds. The rejected alternative was to pin
//! inference threads to cores of their own, which leaves cores idle whenever the load is uneven.

/// Sets `SCHED_BATCH` for the calling thread and all threads that it will start; the niceness is unchanged. On other
/// operating systems this does nothing.
#[cfg(target_os = "linux")]
pub(super) fn use_batch_scheduling() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };

    let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    let priority = ThreadPriorityValue::try_from(priority_of(nice)).map(ThreadPriority::Crossplatform);
    let done = priority.map(|priority| set_thread_priority_and_policy(thread_native_id(), priority, batch));
    // A container may forbid the system call. The daemon then runs with the default policy, and a window costs slightly
    // more CPU time.
    if !matches!(done, Ok(Ok(()))) {
        tracing::debug!(?done, "SCHED_BATCH is not available, the default scheduling policy applies");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn use_batch_scheduling() {}

/// Returns the crate's priority (0 to 99, for niceness 19 to -20) that the crate converts back to niceness `nice`.
#[cfg(target_os = "linux")]
fn priority_of(nice: i32) -> u8 {
    // The centre of the priorities that are rounded to this niceness; a value below 0 saturates to 0.
    (99.0 * (1.0 - (f64::from(nice) + 20.5) / 39.0)).round() as u8
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        thread_schedule_policy,
    };

    use super::*;

    const BATCH: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);

    #[test]
    fn every_niceness_survives_the_conversion() {
        for nice in -20..=19 {
            let value = ThreadPriorityValue::try_from(priority_of(nice)).unwrap();
            assert_eq!(ThreadPriority::Crossplatform(value).to_posix(BATCH), Ok(nice));
        }
    }

    #[test]
    fn a_thread_and_its_children_have_the_batch_policy_and_the_same_niceness() {
        let nice = rustix::process::getpriority_process(None).unwrap();
        let policy = std::thread::spawn(|| {
            use_batch_scheduling();
            let of_a_child = std::thread::spawn(|| thread_schedule_policy().unwrap());
            (thread_schedule_policy().unwrap(), of_a_child.join().unwrap())
        });
        assert_eq!(policy.join().unwrap(), (BATCH, BATCH));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), nice);
        assert_ne!(thread_schedule_policy().unwrap(), BATCH, "other threads keep their policy");
    }
}
