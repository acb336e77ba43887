//! Calls: what a conversation of one or more streams amounts to.
//!
//! Input: the windows of streams with their events, and the ends of streams. Output: one [`crate::proto::CallSummary`] for each call that has
//! ended. In data order: `totals` (a window is added to the totals of its channel) → `open_calls` (which streams a call has, and when it has
//! ended) → `summary` (computed from the totals) → `store` (the summaries that gRPC and HTTP return, by the `page`). `talk` and `valence` are the parts of
//! the computation; `alerts` are the rules on calls that are still open.
//!
//! Invariants: a summary depends on the totals of its streams alone, and these on their windows alone, so a call that is read again after a
//! crash has the same summary.

pub mod alerts;
mod key;
mod loudness;
mod open_calls;
mod options;
mod page;
mod store;
mod summary;
mod summary_channel;
pub mod talk;
mod totals;
pub mod valence;

pub use key::CallKey;
pub use open_calls::{EndedCall, EndedStream, OpenCalls};
pub use options::Options;
pub use page::page_size;
pub use store::CallStore;
pub use summary::summarise;
pub use totals::{Valences, count_window};
