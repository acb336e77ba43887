//! Measuring: a load generator against a daemon, and a benchmark of model and front end alone.

pub mod benchmark;
pub mod load;
