//! Work on recordings in this process, without a daemon, on the pieces that the daemon is made of.

pub mod evaluation;
