//! What a measurement is made of: CPU clocks, another process's use of the machine, percentiles.
//!
//! In: nothing but a process id or samples. Out: plain numbers. Never measures the daemon from inside (see `metrics`).

mod clock;
mod percentiles;
mod process;

pub use clock::{process_cpu, thread_cpu};
pub use percentiles::{Percentiles, percentile};
pub use process::{ProcessError, ProcessUse};
