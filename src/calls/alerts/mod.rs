//! Alerts: rules on live calls, such as "the customer has been angry for five seconds".
//!
//! Input: the windows of streams as their channels count them. Output: an [`crate::proto::Alert`] when a rule begins to apply and when it no longer
//! does. In data order: `options` (the keys) → `rule` (keys that fit together) → `reading` (the value of a rule at one time) → `machine` (when values
//! raise and clear an alert) → `change` (the alert and the state that holds it) → `evaluator` (which rules a window concerns, and where their state is held).
//!
//! Invariants: pure. An alert depends on the windows of its stream alone, so a stream that is read again after a crash has the same alerts with the
//! same ids.

mod alert;
mod change;
mod evaluator;
mod log;
mod machine;
mod options;
mod reading;
mod rule;
#[cfg(test)]
mod rule_tests;
mod sentence;
#[cfg(test)]
mod tests;

pub use alert::{CLEARED, RAISED};
pub use evaluator::{AlertEvaluator, Seen};
pub use log::AlertLog;
pub use options::{AlertOptions, Kind, Priority};
pub use rule::{ChannelChoice, Contradiction, Part, Rule, Threshold};
