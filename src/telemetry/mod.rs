//! What the process reports about itself: metrics, logs, readiness, CPU time and memory.

mod clock;
mod excerpt;
mod log_writer;
pub mod logging;
pub mod metrics;
mod percentiles;
mod process;
mod readiness;
mod source;
pub(crate) mod stderr;

pub use clock::{process_cpu, thread_cpu};
pub use excerpt::{Excerpt, excerpt, excerpt_of_list};
pub use percentiles::{Percentiles, percentile};
pub use process::{ProcessError, ProcessUse};
pub use readiness::{Readiness, ReadinessStatus};
