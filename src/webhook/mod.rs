//! The webhook of alerts, as Standard Webhooks describe it.
//!
//! Input: alerts as they are raised and cleared. Output: one POST request for each, repeated until the receiver accepts it; an alert that it does not
//! accept becomes a dead letter. In data order: `queue` (alerts that wait, and when each is tried) → `message` (body and signature) → `target` (the
//! connection).
//!
//! Invariants: at most 1,000 alerts are queued; nothing else waits for the webhook.

mod message;
mod options;
mod queue;
mod target;
#[cfg(test)]
mod tests;

pub use message::{Message, sign};
pub use options::{Options, SigningSecret};
pub use queue::{Webhook, WebhookSender};
pub use target::{BadTarget, PostError, Target};
