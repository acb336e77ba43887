//! Mapping and filtering of labels.
//!
//! Input: rules such as `surprise=happiness` and `calm=`, and the labels to keep. Output: the new label of a clip, or
//! `None` where the clip is excluded. Invariants: all rules apply to the original label; the result of one rule is never
//! the input of another.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::DatasetError;

/// A rule that renames a label or excludes its clips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    /// The label in the dataset, by its canonical name.
    pub from: String,
    /// The new label; `None` excludes the clips.
    pub to: Option<String>,
}

/// A set of label rules and a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap {
    rules: BTreeMap<String, Option<String>>,
    /// The labels to keep, by their names after the rules; empty keeps all.
    only: BTreeSet<String>,
}

impl FromStr for LabelRule {
    type Err = DatasetError;

    /// Parses `FROM=TO` or `FROM=`.
    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let wrong = || DatasetError::LabelRule(text.to_owned());
        let (from, to) = text.split_once('=').ok_or_else(wrong)?;
        let (from, to) = (from.trim(), to.trim());
        if from.is_empty() || to.contains('=') {
            return Err(wrong());
        }
        Ok(Self { from: from.to_owned(), to: (!to.is_empty()).then(|| to.to_owned()) })
    }
}

impl LabelMap {
    /// Creates a map from rules and the labels to keep after them; an empty `only` keeps all.
    ///
    /// # Errors
    /// Returns an error where two rules have the same label.
    pub fn new(rules: &[LabelRule], only: &[String]) -> Result<Self, DatasetError> {
        let mut map = Self { rules: BTreeMap::new(), only: only.iter().cloned().collect() };
        for LabelRule { from, to } in rules {
            if map.rules.insert(from.clone(), to.clone()).is_some() {
                return Err(DatasetError::LabelTwice(from.clone()));
            }
        }
        Ok(map)
    }

    /// Returns the new label, or `None` where the clips are excluded.
    #[must_use]
    pub fn apply(&self, label: &str) -> Option<String> {
        let renamed = match self.rules.get(label) {
            Some(to) => to.clone(),
            None => Some(label.to_owned()),
        };
        renamed.filter(|label| self.only.is_empty() || self.only.contains(label))
    }

    /// Rejects rules and filters whose labels occur on no clip, because they are most likely misspelt.
    pub(super) fn check(&self, known: &BTreeSet<String>) -> Result<(), DatasetError> {
        let unknown = |label: &String, known: &BTreeSet<String>| DatasetError::UnknownLabel {
            label: label.clone(),
            known: known.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        if let Some(from) = self.rules.keys().find(|from| !known.contains(*from)) {
            return Err(unknown(from, known));
        }
        let everything = Self { rules: self.rules.clone(), only: BTreeSet::new() };
        let renamed: BTreeSet<String> = known.iter().filter_map(|label| everything.apply(label)).collect();
        match self.only.iter().find(|label| !renamed.contains(*label)) {
            Some(label) => Err(unknown(label, &renamed)),
            None => Ok(()),
        }
    }
}

/// The form of a report: `surprise=happiness calm= only anger,happiness`; empty where nothing is mapped or filtered.
impl std::fmt::Display for LabelMap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = self.rules.iter().map(|(from, to)| format!("{from}={}", to.as_deref().unwrap_or("")));
        let only = self.only.iter().cloned().collect::<Vec<_>>().join(",");
        let only = (!only.is_empty()).then(|| format!("only {only}"));
        out.write_str(&rules.chain(only).collect::<Vec<_>>().join(" "))
    }
}
