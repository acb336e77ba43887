//! The scratch of a shard, for each setup that its streams have.
//!
//! In: a model. Out: the scratch that its streams share. Never shared between threads.

use std::collections::{HashMap, HashSet};

use crate::serving::ServedModel;
use crate::stream::Scratch;

/// A scratch for each setup, by its number.
#[derive(Debug, Default)]
pub(super) struct ScratchPool(HashMap<u64, Scratch>);

impl ScratchPool {
    /// The one for the streams of a model, made on first use.
    pub fn of(&mut self, model: &ServedModel) -> &mut Scratch {
        self.0.entry(model.setup_number).or_insert_with(|| model.setup.scratch())
    }

    /// Whether there is one already.
    pub fn has(&self, model: &ServedModel) -> bool {
        self.0.contains_key(&model.setup_number)
    }

    /// Drops those that none of the setups in use needs.
    pub fn keep(&mut self, used: &HashSet<u64>) {
        self.0.retain(|number, _| used.contains(number));
    }
}
