//! Labels by other names, and labels left out.
//!
//! In: rules such as `surprise=happiness` and `calm=`, and the labels that are wanted. Out: each clip's label, or that
//! the clip is left out. All rules apply at once, never one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::DatasetError;

/// One label's other name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    /// The label as the dataset has it, by its canonical name.
    pub from: String,
    /// What it becomes; `None` leaves its clips out.
    pub to: Option<String>,
}

/// Which labels become which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap {
    rules: BTreeMap<String, Option<String>>,
    /// Names after the rules; empty where all are wanted.
    only: BTreeSet<String>,
}

impl FromStr for LabelRule {
    type Err = DatasetError;

    /// Reads `FROM=TO`, or `FROM=`.
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
    /// Rules, and the labels wanted after them; all where `only` is empty.
    ///
    /// # Errors
    /// Two rules for one label.
    pub fn new(rules: &[LabelRule], only: &[String]) -> Result<Self, DatasetError> {
        let mut map = Self { rules: BTreeMap::new(), only: only.iter().cloned().collect() };
        for LabelRule { from, to } in rules {
            if map.rules.insert(from.clone(), to.clone()).is_some() {
                return Err(DatasetError::LabelTwice(from.clone()));
            }
        }
        Ok(map)
    }

    /// What a label becomes; `None` where its clips are left out.
    #[must_use]
    pub fn apply(&self, label: &str) -> Option<String> {
        let renamed = match self.rules.get(label) {
            Some(to) => to.clone(),
            None => Some(label.to_owned()),
        };
        renamed.filter(|label| self.only.is_empty() || self.only.contains(label))
    }

    /// Refuses rules and wanted labels that meet no clip: they are slips of the pen.
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

/// As on the command line: `surprise=happiness calm= only anger,happiness`; empty where nothing is asked.
impl std::fmt::Display for LabelMap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = self.rules.iter().map(|(from, to)| format!("{from}={}", to.as_deref().unwrap_or("")));
        let only = self.only.iter().cloned().collect::<Vec<_>>().join(",");
        let only = (!only.is_empty()).then(|| format!("only {only}"));
        out.write_str(&rules.chain(only).collect::<Vec<_>>().join(" "))
    }
}
