//! The state machine of one rule on one channel: when its values raise an alert, and when they clear it.
//!
//! Input: the values of the rule, one for each window, in order. Output: the changes. Pure.

use super::options::Kind;
use super::reading::Reading;
use super::rule::{Part, Rule};
use crate::stream::{RuleState, Run};

/// What a value changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// An alert is raised.
    Raise {
        /// The value.
        value: f64,
        /// Where the evidence begins.
        start: u64,
        /// The first evidence, which is part of the alert's id.
        first_evidence: u64,
    },
    /// The alert is cleared.
    Clear {
        /// The value; `None` where the rule no longer applies.
        value: Option<f64>,
    },
}

impl Rule {
    /// Returns whether a value is beyond the threshold.
    fn raises(&self, value: f64) -> bool {
        // A silence of exactly `for` is long enough.
        if self.kind == Kind::NonTalk { value >= self.threshold.raise } else { self.threshold.raises(value) }
    }

    fn clears(&self, value: f64) -> bool {
        if self.kind == Kind::NonTalk { value < self.threshold.raise } else { self.threshold.clears(value) }
    }
}

/// Processes the value at the time `at`; `None` where there is none.
///
/// A window without a value ends a run, and neither raises nor clears an alert: the rule needs a value for both.
pub fn step(rule: &Rule, state: &mut RuleState, reading: Option<Reading>, at: u64) -> Option<Change> {
    if matches!(rule.part, Part::First(length) if at > length) {
        state.run = None;
        return state.raised.is_some().then(|| clear(rule, state, None, at));
    }
    let beyond = reading.filter(|reading| rule.raises(reading.value));
    state.run = beyond.map(|reading| continued(rule, state.run, reading, at));
    if state.raised.is_some() {
        let value = reading.map(|reading| reading.value).filter(|value| rule.clears(*value));
        return value.map(|value| clear(rule, state, Some(value), at));
    }
    let (run, reading) = (state.run?, beyond?);
    let is_window = rule.kind == Kind::Emotion;
    let held = at.saturating_sub(if is_window { run.start } else { run.first });
    let enough = !is_window || run.count >= rule.min_windows;
    let quiet = state.quiet_until.is_some_and(|until| at < until);
    if held < rule.hold || !enough || quiet {
        return None;
    }
    let start = if is_window { run.start } else { reading.start };
    let first_evidence = match rule.kind {
        Kind::Emotion | Kind::NonTalk => run.start,
        // Their evidence overlaps that of the alert before.
        _ => run.first,
    };
    Some(Change::Raise { value: reading.value, start, first_evidence })
}

/// Returns the run with one more value. The windows of a run follow each other without a gap.
fn continued(rule: &Rule, run: Option<Run>, reading: Reading, at: u64) -> Run {
    let run = run.filter(|run| rule.kind != Kind::Emotion || reading.start <= run.last);
    let begin = Run { start: reading.start, first: at, last: at, count: 0 };
    let run = run.unwrap_or(begin);
    Run { last: at, count: run.count + 1, ..run }
}

fn clear(rule: &Rule, state: &mut RuleState, value: Option<f64>, at: u64) -> Change {
    state.quiet_until = Some(at.saturating_add(rule.cool_down));
    Change::Clear { value }
}
