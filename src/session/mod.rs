//! One input stream, independent of the transport that carries it.
//!
//! Input: the messages of one stream, in order. Output: pieces for the shards, or a [`Refusal`]. Invariants: no type of a transport occurs here; what
//! opens a stream and what later chunks must not change is checked once, for every transport.
//!
//! In data order: `input` (a connection's messages, one after the other) → `opening` (what a first chunk declares) → `opened_stream` (the checks of the later ones, the collected file) → `pieces` (large chunks
//! cut so that no queue fills at once) → `pace` (a stream that is ahead of real time waits) → `credits` (room for their events) → `shard_sender`. `open_streams` holds the ids that are taken, `refusal`
//! the reasons with their classes.
//!
//! A new transport turns its messages into a stream of `AudioChunk`, runs an [`InputSession`] on it, sends the events that arrive on the session's
//! channel, and maps [`RefusalClass`] to its own codes.

mod credits;
mod inbox;
mod input;
mod open_streams;
mod opened_stream;
mod opening;
mod pace;
mod pieces;
mod refusal;
mod shard_sender;

pub use inbox::ReplyInbox;
pub use input::{InputSession, SessionError, SessionLinks};
pub use open_streams::{OpenStreamGuard, OpenStreams};
pub use pieces::{chunk_of, events_of_a_piece, most_events_of_a_piece, pieces};
pub use refusal::{Refusal, RefusalClass};
