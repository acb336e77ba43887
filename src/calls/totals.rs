//! Adds a window to the totals of its channel.
//!
//! Input: what was measured of the window and its event. Output: the changed totals. Pure.

use std::sync::Arc;

use super::{Options, loudness, valence};
use crate::proto::EmotionEvent;
use crate::serving::WindowEnvelope;
use crate::stream::{ChannelState, ChannelTotals, CountedWindow, StreamInfo};
use crate::vad::add_to_fingerprint;
use crate::window::{Activity, milliseconds};

/// The emotions of one channel that are told apart; further ones would not fit the windows' one byte.
const MOST_EMOTIONS: usize = 250;

/// The labels with a valence (`calls.positive`, `calls.negative`).
#[derive(Debug, Clone)]
pub struct Valences {
    positive: Vec<String>,
    negative: Vec<String>,
}

impl Valences {
    /// Returns the configured labels.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { positive: options.positive.clone(), negative: options.negative.clone() }
    }

    /// Returns the valence of an event from −5 to 5; `None` where no label of the model has one.
    #[must_use]
    pub fn of(&self, event: &EmotionEvent) -> Option<f64> {
        let sign = |label: &String| {
            let is = |labels: &[String]| i32::from(labels.contains(label));
            f64::from(is(&self.positive) - is(&self.negative))
        };
        let signs = event
            .unsmoothed_scores()
            .iter()
            .map(|score| (sign(&score.emotion), f64::from(score.probability)));
        let (sum, known) = signs.fold((0.0, false), |(sum, known), (sign, probability)| {
            (sum + sign * probability, known || sign != 0.0)
        });
        known.then(|| (5.0 * sum).clamp(-5.0, 5.0))
    }
}

/// Adds a window to the state of its channel. `event` is `None` for a window without one: silent, or of a channel that the model does not
/// analyse.
pub fn count_window(
    state: &mut ChannelState,
    envelope: &WindowEnvelope,
    event: Option<&EmotionEvent>,
    valences: &Valences,
) {
    let Some(activity) = envelope.activity.as_deref() else { return };
    let totals = Arc::make_mut(state.call.get_or_insert_with(|| Arc::new(begin(&envelope.stream))));
    add_activity(totals, activity);
    let stream = &envelope.stream;
    totals.analysed = stream.analyses(envelope.channel);
    if !totals.analysed {
        return;
    }
    let scored = event.filter(|event| !event.scores.is_empty());
    if let Some(event) = scored {
        totals.model.clone_from(&event.model);
    }
    let valence = scored.and_then(|event| valences.of(event));
    totals.has_valence |= valence.is_some();
    let emotion = scored.and_then(|event| emotion_index(totals, &event.emotion));
    totals.windows.push(CountedWindow {
        start: milliseconds(envelope.start),
        end: milliseconds(envelope.end),
        emotion,
        valence: valence::to_stored(valence.unwrap_or(0.0)),
    });
}

fn begin(stream: &StreamInfo) -> ChannelTotals {
    ChannelTotals { started_at: stream.started_at.unwrap_or(0), ..ChannelTotals::default() }
}

fn add_activity(totals: &mut ChannelTotals, activity: &Activity) {
    if let Some(speech) = &activity.speech {
        totals.has_speech = true;
        for (start, end) in speech {
            match totals.speech.last_mut() {
                Some(last) if *start <= last.1 + 16 => last.1 = (*end).max(last.1),
                _ => totals.speech.push((*start, *end)),
            }
        }
    }
    loudness::add(&mut totals.loudness, &activity.energies);
    totals.fingerprint = add_to_fingerprint(totals.fingerprint, activity.fingerprint);
    totals.sounds |= activity.sounds;
    totals.end = totals.end.max(activity.end);
}

fn emotion_index(totals: &mut ChannelTotals, emotion: &str) -> Option<u8> {
    let known = totals.emotions.iter().position(|known| known == emotion);
    if known.is_none() && totals.emotions.len() >= MOST_EMOTIONS {
        return None;
    }
    let index = known.unwrap_or_else(|| {
        totals.emotions.push(emotion.to_owned());
        totals.emotions.len() - 1
    });
    u8::try_from(index).ok()
}
