//! Which clips take part in a run, and what a model's file says about them.
//!
//! In: datasets, label names, a protocol. Out: the clips of each part with an audit of all others; a contract's
//! provenance. Never decodes more than the audit hears.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::Identity;
use super::audit::{self, Audit, ClipProperties, FrameLength};
use super::cache::Cache;
use super::corpus::Recipe;
use super::score::Score;
use crate::evaluation::datasets::{DatasetSpec, DatasetSplits, LabelMap, Pool, Protocol};
use crate::model::Provenance;

/// Which clips take part.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Datasets, all of them together.
    pub data: Vec<DatasetSpec>,
    /// Which labels become which.
    pub label_map: LabelMap,
    /// Who trains, validates and tests.
    pub protocol: Protocol,
}

impl Selection {
    /// All clips that can be used in their parts, and all others.
    ///
    /// # Errors
    /// Data that cannot be read, too much of it that cannot be used, and parts that end up empty.
    pub fn partition(&self, recipe: &Recipe) -> anyhow::Result<(DatasetSplits, Audit)> {
        let pool = Pool::read(&self.data, &self.label_map)?;
        let found = Audit::of_pool(&pool);
        let frame = FrameLength { length: recipe.mfcc.n_fft, sample_rate_hz: recipe.sample_rate_hz };
        let partition = pool.divide(&self.protocol)?;
        let cache = recipe.cache.as_ref().map(|folder| Cache::open(folder, &"heard".into())).transpose()?;
        audit::audit(partition, self.protocol.name(), frame, found, |path| {
            ClipProperties::file(path, cache.as_ref())
        })
    }

    /// What a model was made of and what it reached.
    pub fn provenance(
        &self,
        identity: &Identity,
        (validation, test): (&Score, &Score),
        seed: u64,
    ) -> Provenance {
        let titles = || self.data.iter().map(|spec| spec.title().to_owned()).collect();
        Provenance {
            datasets: identity.data.clone().map_or_else(titles, |data| vec![data]),
            protocol: self.protocol.describe(&self.data),
            metrics: metrics(validation, test),
            trained_at: now(),
            seed,
        }
    }
}

/// The figures that a contract carries.
pub(super) fn metrics(validation: &Score, test: &Score) -> BTreeMap<String, f64> {
    let figures = |(split, score): (&str, &Score)| {
        [
            (format!("{split}_accuracy"), score.accuracy),
            (format!("{split}_unweighted_average_recall"), score.unweighted_average_recall),
            (format!("{split}_macro_f1"), score.macro_f1),
        ]
    };
    [("validation", validation), ("test", test)].into_iter().flat_map(figures).collect()
}

/// RFC 3339, through the protocol's own timestamp; `SOURCE_DATE_EPOCH` in the clock's place where it is set
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn now() -> String {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let since = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = fixed.unwrap_or_else(|| since().as_secs() as i64);
    let timestamp = pbjson_types::Timestamp { seconds, nanos: 0 };
    serde_json::to_value(timestamp).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}
