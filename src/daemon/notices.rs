//! Warnings at the start about a configuration that is valid and perhaps not what is meant.
//!
//! Input: the configuration, and the models in service. Output: log lines.

use crate::config::{Calls, Config};
use crate::serving::ModelRegistry;
use crate::telemetry::excerpt_of_list;

/// Why agents are not analysed by default.
const PROHIBITED: &str = "the EU prohibits inferring emotions of employees (AI Act, article 5(1)(f))";

/// Logs where agents are analysed, and names of `privacy.keep` without effect.
pub(super) fn of_telephony(config: &Config) {
    let analyse = &config.ingest.analyse;
    if analyse.is_empty() {
        tracing::warn!(
            "ingest.analyse is empty, so that the channel agent is analysed as all others: {PROHIBITED}"
        );
    } else if analyse.iter().any(|name| name.eq_ignore_ascii_case("agent")) {
        tracing::warn!("ingest.analyse names agent: {PROHIBITED}");
    }
    let (kept, dropped) = (config.privacy.kept_without_effect(), config.privacy.personal().join(", "));
    if !kept.is_empty() {
        tracing::warn!(
            "privacy.keep names {}, which would be kept anyway: dropped are {dropped}",
            excerpt_of_list(&kept)
        );
    }
}

/// Logs the labels of `calls.positive` and `calls.negative` that no model has.
pub(super) fn of_labels(calls: &Calls, models: &ModelRegistry) {
    let labels: Vec<&String> = models.iter().flat_map(|model| &model.contract.labels).collect();
    let default = Calls::default();
    // The defaults hold for every model, whatever part of them it has.
    let lists = [
        ("calls.positive", &calls.positive, default.positive),
        ("calls.negative", &calls.negative, default.negative),
    ];
    for (key, names, _) in lists.into_iter().filter(|(_, names, default)| *names != default) {
        let unknown: Vec<String> = names.iter().filter(|name| !labels.contains(name)).cloned().collect();
        if unknown.is_empty() {
            continue;
        }
        let mut known: Vec<String> = labels.iter().map(|label| (*label).clone()).collect();
        known.sort();
        known.dedup();
        tracing::warn!(
            "{key}: no model in service has {}, which therefore counts for no valence: the labels are {}",
            excerpt_of_list(&unknown),
            excerpt_of_list(&known)
        );
    }
}
