//! Makes a rule of the keys of an `[[alert]]`, and refuses keys that contradict each other.
//!
//! Input: [`AlertOptions`]. Output: a [`Rule`], or the [`Contradiction`]. Pure. Times are milliseconds.

use std::sync::Arc;

use super::options::{AlertOptions, Kind, Priority};
use super::sentence::Written;
use crate::window::milliseconds;

/// Windows that a value needs where `min_windows` is not set.
const MIN_WINDOWS: u64 = 3;
/// The longest name of a rule, in bytes.
const LONGEST_NAME: usize = 64;

/// The channels that a rule applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelChoice {
    /// The channel with this name, or with this number where it has no name.
    Named(String),
    /// Each channel by itself.
    Any,
    /// Every analysed channel at once.
    Both,
    /// The call as a whole.
    Call,
}

/// The part of the call that a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first milliseconds.
    First(u64),
    /// The last milliseconds.
    Last(u64),
}

/// The values that raise and clear an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Whether values above raise an alert; else values below.
    pub above: bool,
    /// Values beyond it raise an alert.
    pub raise: f64,
    /// A value that is not beyond it clears the alert.
    pub clear: f64,
}

impl Threshold {
    /// Returns whether a value raises an alert.
    #[must_use]
    pub fn raises(&self, value: f64) -> bool {
        if self.above { value > self.raise } else { value < self.raise }
    }

    /// Returns whether a value clears an alert.
    #[must_use]
    pub fn clears(&self, value: f64) -> bool {
        if self.above { value <= self.clear } else { value >= self.clear }
    }
}

/// A rule whose keys fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// The priority of its alerts.
    pub priority: Priority,
    /// Its channels.
    pub channel: ChannelChoice,
    /// What it measures.
    pub kind: Kind,
    /// The emotion; empty for kinds without one.
    pub emotion: String,
    /// The values that raise and clear an alert.
    pub threshold: Threshold,
    /// How long the value must stay beyond the threshold.
    pub hold: u64,
    /// The time that the value is computed from; 0 for kinds without one.
    pub within: u64,
    /// The part of the call.
    pub part: Part,
    /// Analysed windows that a value needs.
    pub min_windows: u64,
    /// Time after an alert without another one.
    pub cool_down: u64,
}

/// A key that does not fit the other keys of its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The key.
    pub key: &'static str,
    /// What is allowed, to complete "expected …".
    pub allowed: String,
}

fn no(key: &'static str, allowed: impl Into<String>) -> Contradiction {
    Contradiction { key, allowed: allowed.into() }
}

/// What the keys of a kind must and may be.
struct Shape {
    /// Whether an emotion is named.
    emotion: bool,
    /// The lowest and the highest threshold; `None` for the kind whose threshold is `for`.
    values: Option<(f64, f64)>,
    within: bool,
    /// Whether windows are counted.
    windows: bool,
    /// Whether the rule has a channel.
    channel: bool,
}

impl Kind {
    fn shape(self) -> Shape {
        let shape =
            |emotion, values, within, windows, channel| Shape { emotion, values, within, windows, channel };
        match self {
            Self::Emotion => shape(true, Some((0.0, 1.0)), false, true, true),
            Self::Valence => shape(false, Some((-5.0, 5.0)), true, true, true),
            Self::Share => shape(true, Some((0.0, 1.0)), true, true, true),
            Self::Trend => shape(false, Some((-10.0, 10.0)), true, true, true),
            Self::NonTalk => shape(false, None, false, false, false),
            Self::Overlap => shape(false, Some((0.0, 1.0)), true, false, false),
            Self::Interruptions => shape(false, Some((0.0, 1_000.0)), true, false, true),
        }
    }
}

impl Rule {
    /// Makes the rule of an `[[alert]]`.
    ///
    /// # Errors
    /// Returns the first key that is missing or contradicts another one.
    pub fn new(options: &AlertOptions) -> Result<Self, Contradiction> {
        let name = options.name.as_deref().ok_or_else(|| no("name", "a name of its own for each rule"))?;
        if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(no(
                "name",
                format!("text of at most {LONGEST_NAME} bytes without control characters"),
            ));
        }
        let kind = options.kind.ok_or_else(|| no("kind", format!("one of {}", Kind::NAMES.join(", "))))?;
        let shape = kind.shape();
        check_presence(options, kind, &shape)?;
        let threshold = match shape.values {
            Some(range) => threshold(options, kind, range)?,
            None => {
                let seconds = options.hold.unwrap_or_default().as_secs_f64();
                Threshold { above: true, raise: seconds, clear: seconds }
            }
        };
        let rule = Self {
            name: name.into(),
            priority: options.priority,
            channel: channel(options, &shape),
            kind,
            emotion: options.emotion.clone().unwrap_or_default(),
            threshold,
            hold: if shape.values.is_some() { options.hold.map_or(0, milliseconds) } else { 0 },
            within: options.within.map_or(0, milliseconds),
            part: part(options)?,
            min_windows: options.min_windows.map_or(MIN_WINDOWS, |windows| windows as u64),
            cool_down: milliseconds(options.cool_down),
        };
        rule.check_part(options)?;
        Ok(rule)
    }

    /// Checks that the part of the call is long enough for the rule to apply in it.
    fn check_part(&self, options: &AlertOptions) -> Result<(), Contradiction> {
        let (key, length) = match self.part {
            Part::Whole => return Ok(()),
            Part::First(length) => ("first", length),
            Part::Last(length) => ("last", length),
        };
        let silence = if self.kind == Kind::NonTalk { options.hold.map_or(0, milliseconds) } else { 0 };
        let spans = if self.kind == Kind::Trend { self.within.saturating_mul(2) } else { self.within };
        for (key_of_time, needed) in [("for", self.hold.max(silence)), ("within", spans)] {
            if needed > length {
                let what = if self.kind == Kind::Trend && key_of_time == "within" {
                    "2 × within"
                } else {
                    key_of_time
                };
                return Err(no(key, format!("at least {what} ({})", Written(needed))));
            }
        }
        Ok(())
    }

    /// Returns whether a value depends on several channels.
    #[must_use]
    pub fn spans_channels(&self) -> bool {
        matches!(self.kind, Kind::NonTalk | Kind::Overlap | Kind::Interruptions)
            || self.channel == ChannelChoice::Both
    }

    /// Returns whether the rule applies to a channel.
    #[must_use]
    pub fn applies_to(&self, channel_name: &str) -> bool {
        match &self.channel {
            ChannelChoice::Named(name) => name == channel_name,
            ChannelChoice::Any => true,
            ChannelChoice::Both | ChannelChoice::Call => false,
        }
    }
}

/// Checks that the keys are there that the kind needs, and no others.
fn check_presence(options: &AlertOptions, kind: Kind, shape: &Shape) -> Result<(), Contradiction> {
    let kind = kind.name();
    let checks = [
        ("emotion", options.emotion.is_some(), shape.emotion, shape.emotion),
        ("within", options.within.is_some(), shape.within, shape.within),
        ("for", options.hold.is_some(), shape.values.is_none(), true),
        ("above", options.above.is_some(), false, shape.values.is_some()),
        ("below", options.below.is_some(), false, shape.values.is_some()),
        ("clear", options.clear.is_some(), false, shape.values.is_some()),
        ("min_windows", options.min_windows.is_some(), false, shape.windows),
        ("channel", options.channel.is_some(), false, shape.channel),
    ];
    for (key, present, needed, possible) in checks {
        if present && !possible {
            return Err(no(key, format!("no {key} beside kind = {kind:?}")));
        }
        if !present && needed {
            let example = match key {
                "emotion" => "a label of the model",
                _ => "a time such as 30s",
            };
            return Err(no(key, format!("{example} beside kind = {kind:?}")));
        }
    }
    Ok(())
}

fn threshold(
    options: &AlertOptions,
    kind: Kind,
    (low, high): (f64, f64),
) -> Result<Threshold, Contradiction> {
    let (key, raise, above) = match (options.above, options.below) {
        (Some(_), Some(_)) => return Err(no("below", "either above or below, not both")),
        (None, None) => return Err(no("above", format!("above or below beside kind = {:?}", kind.name()))),
        (Some(above), None) => ("above", above, true),
        (None, Some(below)) => ("below", below, false),
    };
    // A value never lies beyond the end of its range.
    let reachable = if above { raise >= low && raise < high } else { raise > low && raise <= high };
    if !reachable {
        let bounds =
            if above { format!("from {low} to below {high}") } else { format!("above {low}, up to {high}") };
        return Err(no(key, format!("a number {bounds} beside kind = {:?}", kind.name())));
    }
    let clear = options.clear.unwrap_or(raise);
    let behind = if above { clear <= raise && clear >= low } else { clear >= raise && clear <= high };
    if !behind {
        let allowed = if above {
            format!("a number from {low} to above = {raise}")
        } else {
            format!("a number from below = {raise} to {high}")
        };
        return Err(no("clear", allowed));
    }
    Ok(Threshold { above, raise, clear })
}

fn channel(options: &AlertOptions, shape: &Shape) -> ChannelChoice {
    match options.channel.as_deref() {
        _ if !shape.channel => ChannelChoice::Call,
        None | Some("any") => ChannelChoice::Any,
        Some("both") => ChannelChoice::Both,
        Some(name) => ChannelChoice::Named(name.to_owned()),
    }
}

fn part(options: &AlertOptions) -> Result<Part, Contradiction> {
    match (options.first, options.last) {
        (Some(_), Some(_)) => Err(no("last", "either first or last, not both")),
        (Some(first), None) => Ok(Part::First(milliseconds(first))),
        (None, Some(last)) => Ok(Part::Last(milliseconds(last))),
        (None, None) => Ok(Part::Whole),
    }
}
