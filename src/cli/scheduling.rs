//! How the daemon's threads share the cores.
//!
//! In: the choice. Out: the policy of the calling thread, which every thread that it starts from then on takes over.
//!
//! A call's task that wakes up for each chunk would take the core from a model in the middle of a run, whose data then leave the caches.
//! Under `SCHED_BATCH` (sched(7)) a thread that wakes up waits until the running one has had its turn, a few milliseconds.

/// Makes the calling thread, and all that it will start, give way where they wake up; niceness stays. Does nothing but on Linux.
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
    // A container may forbid it. The daemon runs all the same, and a window costs a little more.
    if !matches!(done, Ok(Ok(()))) {
        tracing::debug!(?done, "threads are scheduled as the system does by itself");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn use_batch_scheduling() {}

/// The priority that the crate turns into niceness `nice` again: it counts from 0 to 99 for niceness 19 to -20.
#[cfg(target_os = "linux")]
fn priority_of(nice: i32) -> u8 {
    // In the middle of the priorities that are rounded to it; below 0 becomes 0.
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
    fn every_niceness_comes_back_as_it_was() {
        for nice in -20..=19 {
            let value = ThreadPriorityValue::try_from(priority_of(nice)).unwrap();
            assert_eq!(ThreadPriority::Crossplatform(value).to_posix(BATCH), Ok(nice));
        }
    }

    #[test]
    fn a_thread_and_those_that_it_starts_give_way_and_are_as_nice_as_before() {
        let nice = rustix::process::getpriority_process(None).unwrap();
        let policy = std::thread::spawn(|| {
            use_batch_scheduling();
            let of_a_child = std::thread::spawn(|| thread_schedule_policy().unwrap());
            (thread_schedule_policy().unwrap(), of_a_child.join().unwrap())
        });
        assert_eq!(policy.join().unwrap(), (BATCH, BATCH));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), nice);
        assert_ne!(thread_schedule_policy().unwrap(), BATCH, "other threads stay as they are");
    }
}
