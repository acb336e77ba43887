//! The scratch buffers of a shard, one set for each setup of its streams.
//!
//! Input: a model. Output: the scratch that its streams share. Invariant: scratch is not shared between threads.

use std::collections::{HashMap, HashSet};

use crate::serving::ServedModel;
use crate::stream::Scratch;

/// Scratch for each setup, by its number.
#[derive(Debug, Default)]
pub(super) struct ScratchPool(HashMap<u64, Scratch>);

impl ScratchPool {
    /// The scratch for the streams of a model, made on first use.
    pub fn of(&mut self, model: &ServedModel) -> &mut Scratch {
        self.0.entry(model.setup_number).or_insert_with(|| model.setup.scratch())
    }

    /// Whether there is scratch for the model already.
    pub fn has(&self, model: &ServedModel) -> bool {
        self.0.contains_key(&model.setup_number)
    }

    /// Drops the scratch of setups that are not in `used`.
    pub fn keep(&mut self, used: &HashSet<u64>) {
        self.0.retain(|number, _| used.contains(number));
    }
}
