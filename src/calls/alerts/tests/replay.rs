//! A stream that is read again after a crash has the same alerts, whatever the rules and the speech.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::script::*;
use crate::calls::alerts::AlertEvaluator;
use crate::calls::alerts::options::{AlertOptions, Kind};
use crate::proto::Alert;
use crate::stream::{ChannelState, ChannelStates};

fn all_kinds() -> AlertEvaluator {
    let within = seconds(6);
    let named = |name: &str, options: AlertOptions| AlertOptions {
        name: Some(name.to_owned()),
        cool_down: Duration::from_secs(2),
        ..options
    };
    let emotion = Some("anger".to_owned());
    evaluator(&[
        named("emotion", AlertOptions { hold: seconds(4), ..anger(0.6) }),
        named("both", AlertOptions { channel: Some("both".to_owned()), min_windows: Some(1), ..anger(0.5) }),
        named("valence", AlertOptions { below: Some(-1.0), within, ..options(Kind::Valence) }),
        named("share", AlertOptions { emotion, within, ..above(Kind::Share, 0.4) }),
        named("trend", AlertOptions { within, ..above(Kind::Trend, 1.0) }),
        named("silence", AlertOptions { hold: seconds(3), ..options(Kind::NonTalk) }),
        named("overlap", AlertOptions { within, ..above(Kind::Overlap, 0.2) }),
        named("interruptions", AlertOptions { within, ..above(Kind::Interruptions, 0.0) }),
        named("last", AlertOptions { last: seconds(9), ..anger(0.5) }),
    ])
}

fn script() -> impl Strategy<Value = Script> {
    let mood = proptest::option::weighted(0.8, 0.0..1.0_f32);
    let speech = proptest::collection::vec((0..2_500_u64, 100..3_000_u64), 0..12);
    let channel = (proptest::collection::vec(mood, 25), speech);
    (channel.clone(), channel).prop_map(|channels| {
        let channels = [channels.0, channels.1];
        let spans = |parts: &Vec<(u64, u64)>| {
            let mut at = 0;
            let span = |(gap, length): &(u64, u64)| {
                // Whole frames of the detector.
                let start = at + gap / 16 * 16 + 32;
                at = start + length / 16 * 16;
                (start, at)
            };
            parts.iter().map(span).collect()
        };
        Script {
            moods: channels.iter().map(|(moods, _)| moods.clone()).collect(),
            speech: channels.iter().map(|(_, parts)| spans(parts)).collect(),
        }
    })
}

/// Until which window a stream is read, and how many of its last windows each channel loses then.
type Crash = (usize, usize, usize);

/// Reads a stream with crashes, and returns its alerts and the states of its channels. At each crash, each channel goes on with the state of its last window that
/// was delivered, which is behind the others by up to four windows.
fn replayed(
    script: &Script,
    evaluator: &AlertEvaluator,
    mut crashes: Vec<Crash>,
) -> (Vec<Alert>, ChannelStates) {
    let stream = stream(2);
    // The states of each channel after each of its windows, with the alerts of that window.
    let mut history: [Vec<(String, Vec<Arc<Alert>>)>; 2] = [Vec::new(), Vec::new()];
    let mut states = ChannelStates::default();
    crashes.sort_unstable();
    crashes.push((25, 0, 0));
    for (until, one, other) in crashes {
        let mut next = [history[0].len(), history[1].len()];
        for index in 0..until {
            for channel in 0..2 {
                if index >= next[channel] {
                    let alerts = script.window(evaluator, &mut states, (&stream, channel, index));
                    let state = ChannelStates::new(vec![states.of(channel as u32)]);
                    history[channel].push((serde_json::to_string(&state).unwrap(), alerts));
                    next[channel] = index + 1;
                }
            }
        }
        if until == 25 {
            break;
        }
        // What was not delivered is lost, with its alerts.
        for (channel, lost) in [one, other].into_iter().enumerate() {
            let kept = history[channel].len().saturating_sub(lost);
            history[channel].truncate(kept);
            let json = history[channel].last().map(|(json, _)| json.clone());
            let state: ChannelStates =
                json.map_or_else(ChannelStates::default, |json| serde_json::from_str(&json).unwrap());
            *states.of_mut(channel as u32) = state.of(0);
        }
    }
    let mut delivered: Vec<Arc<Alert>> =
        history.into_iter().flatten().flat_map(|(_, alerts)| alerts).collect();
    delivered.extend(evaluator.finish(&mut states, &stream, script.end()));
    (delivered.into_iter().map(Arc::unwrap_or_clone).collect(), states)
}

/// Asserts that crashes change neither the alerts of a stream nor those that its states hold.
fn assert_same_alerts(script: &Script, crashes: Vec<Crash>) {
    let evaluator = all_kinds();
    let (expected, expected_states) = script.alerts_and_states(&evaluator);
    let (delivered, states) = replayed(script, &evaluator, crashes);
    let sorted = |alerts: Vec<Alert>| {
        let text = |alert| serde_json::to_string(&Alert { attributes: [].into(), ..alert }).unwrap();
        let mut all: Vec<String> = alerts.into_iter().map(text).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(delivered), sorted(expected));
    let held = |states: &ChannelStates| {
        let alerts = |state: &ChannelState| state.alerts.clone().unwrap().alerts.clone();
        states.iter().flat_map(alerts).collect::<Vec<_>>()
    };
    assert_eq!(held(&states), held(&expected_states));
}

/// Their speech is the same without short gaps, and one channel is known further than the other after the crash.
#[test]
fn channels_of_the_same_speech_are_told_apart_by_their_audio_also_after_a_crash() {
    let speech = vec![vec![(2_480, 4_992)], vec![(2_480, 2_608), (2_704, 4_992)]];
    assert_same_alerts(&Script { moods: vec![vec![None; 25]; 2], speech }, vec![(4, 0, 2)]);
}

proptest! {
    #[test]
    fn a_stream_that_is_read_again_has_the_same_alerts(
        script in script(),
        crashes in proptest::collection::vec((0..25_usize, 0..4_usize, 0..4_usize), 0..4),
    ) {
        assert_same_alerts(&script, crashes);
    }
}
