//! One input stream, independent of the transport that carries it.
//!
//! Input: chunks of one stream in the order in which they arrived. Output: pieces for the shards, or a refusal. `open_streams` (which ids are taken),
//! `opened` (what later chunks must not change), `pieces` (large chunks cut so that no queue fills at once).

mod open_streams;
mod opened;
mod pieces;

pub use open_streams::*;
pub(crate) use opened::Opened;
pub use pieces::*;
