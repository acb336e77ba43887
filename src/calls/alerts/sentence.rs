//! Rules as sentences, as `affectd rules check` prints them.
//!
//! Input: a rule. Output: text. Pure.

use std::fmt;

use super::options::Kind;
use super::rule::{ChannelChoice, Part, Rule, Threshold};

/// Milliseconds as people write them.
pub(super) struct Written(pub u64);

impl fmt::Display for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}s", self.0 as f64 / 1_000.0)
    }
}

impl fmt::Display for Rule {
    /// Writes the rule as a sentence, as in `customer: probability of anger above 0.7 for 5s`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.channel {
            ChannelChoice::Named(name) => write!(out, "{name}: ")?,
            ChannelChoice::Any => out.write_str("any channel: ")?,
            ChannelChoice::Both => out.write_str("every analysed channel at once: ")?,
            ChannelChoice::Call => out.write_str("call: ")?,
        }
        let within = Written(self.within);
        match self.kind {
            Kind::Emotion => write!(out, "probability of {}", self.emotion),
            Kind::Valence => write!(out, "mean valence of the last {within}"),
            Kind::Share => write!(out, "share of {} in the last {within}", self.emotion),
            Kind::Trend => write!(out, "mean valence of the last {within} less that of the {within} before"),
            Kind::NonTalk => return write!(out, "nobody speaks for {}s{}", self.threshold.raise, self.part),
            Kind::Overlap => write!(out, "share of overlap in the last {within}"),
            Kind::Interruptions => write!(out, "interruptions in the last {within}"),
        }?;
        let Threshold { above, raise, clear } = self.threshold;
        write!(out, " {} {raise}", if above { "above" } else { "below" })?;
        if self.hold > 0 {
            write!(out, " for {}", Written(self.hold))?;
        }
        if clear != raise {
            write!(out, ", cleared at {clear}")?;
        }
        write!(out, "{}", self.part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::First(length) => write!(out, ", in the first {} of the call", Written(*length)),
            Self::Last(length) => write!(out, ", in the last {} of the call", Written(*length)),
        }
    }
}
