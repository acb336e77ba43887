//! The selection of clips for a run, and the provenance of a model.
//!
//! Input: datasets, a label map and a split protocol. Output: the usable clips of each split, an audit of the others, and
//! the provenance entry of a contract.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::Identity;
use super::audit;
use super::audit::{Audit, FrameLength};
use super::cache::Cache;
use super::corpus::Recipe;
use super::score::Score;
use crate::datasets::{DatasetSpec, DatasetSplits, LabelMap, Pool, Protocol};
use crate::model::Provenance;

/// The selection of clips.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The datasets.
    pub data: Vec<DatasetSpec>,
    /// The label map.
    pub label_map: LabelMap,
    /// The split protocol.
    pub protocol: Protocol,
}

impl Selection {
    /// Returns the usable clips of each split, and the audit of all clips.
    ///
    /// # Errors
    /// Returns an error where data cannot be read, a dataset has no label in common with the others, too many clips are
    /// unreadable, or a split is empty.
    pub fn splits(&self, recipe: &Recipe) -> anyhow::Result<(DatasetSplits, Audit)> {
        let pool = Pool::read(&self.data, &self.label_map)?;
        pool.check_shared_labels(&self.data)?;
        let found = Audit::of_pool(&pool);
        let frame = FrameLength { length: recipe.mfcc.n_fft, sample_rate_hz: recipe.sample_rate_hz };
        let splits = pool.divide(&self.protocol)?;
        let cache =
            recipe.cache.as_ref().map(|folder| Cache::open(folder, &"clip properties".into())).transpose()?;
        audit::audit(splits, self.protocol.name(), frame, found, |path| {
            audit::clip_properties(path, cache.as_ref())
        })
    }

    /// Returns the provenance of a model with these scores.
    pub fn provenance(&self, identity: &Identity, validation: &Score, test: &Score, seed: u64) -> Provenance {
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

/// Returns the scores of a contract by name.
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

/// Returns the current time as RFC 3339, or the time in `SOURCE_DATE_EPOCH` where it is set
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn now() -> String {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let since = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = fixed.unwrap_or_else(|| since().as_secs() as i64);
    let timestamp = crate::proto::Timestamp { seconds, nanos: 0 };
    serde_json::to_value(timestamp).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}
