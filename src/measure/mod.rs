//! Measuring tools for benchmarks: CPU clocks, resource use of another process, and percentiles.
//!
//! Input: a process id, or samples. Output: plain numbers. Invariants: the daemon's own metrics are in `metrics`.

mod clock;
mod percentiles;
mod process;

pub use clock::{process_cpu, thread_cpu};
pub use percentiles::{Percentiles, percentile};
pub use process::{ProcessError, ProcessUse};
