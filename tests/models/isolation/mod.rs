//! Streams wait alone: a blocked model and a full sink delay only the streams that need them, and every stream's end follows its last window.
//!
//! The stages are the real ones, in one process; only the model's session is a fake. Nothing here depends on timing: a blocked session waits
//! for the test.

mod blocked_model;
mod files;
mod pipeline;
mod sinks;
mod stream_end;
