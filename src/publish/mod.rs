//! Publishing: predictions become events, and each event goes to its recipients.
//!
//! Input: scored batches. Output: events to calls, sinks and the tap of observers, predictions to evaluations. In data order: `stream_states` (state of the stages
//! behind the model) → `out_of_domain` → `stages` (`adaptation`, `smoothing`) → `event` (the decision) → `publisher` (the stage). Observers see events (`tap`) and windows (`live`).

pub mod adaptation;
mod call_stage;
pub mod event;
pub mod live;
mod options;
mod out_of_domain;
pub mod publisher;
pub mod smoothing;
pub mod stages;
pub mod stream_states;
pub mod tap;

pub use adaptation::{Adaptation, TrainedLabels};
pub use call_stage::CallOutput;
pub use event::EventFactory;
pub use options::{AdaptationMethod, Options, Smoothing, SmoothingMethod};
