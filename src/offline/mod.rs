//! Work on recordings in this process, without a daemon, with the components of the daemon.

pub mod evaluation;
