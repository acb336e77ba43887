//! One scripted stream for each kind of rule.

mod replay;
mod script;

use std::time::Duration;

use self::script::*;
use super::options::{AlertOptions, Kind};
use super::{CLEARED, RAISED, Seen};
use crate::proto::{Alert, EmotionEvent};
use crate::stream::ChannelStates;

#[test]
fn an_emotion_must_stay_above_the_threshold_for_the_whole_time() {
    let angry = evaluator(&[AlertOptions { hold: seconds(6), clear: Some(0.4), ..anger(0.7) }]);
    // Windows 2 to 4 last from 2 to 7 s, which is not 6 s; windows 7 to 12 last from 7 to 15 s.
    let script = Script::one(&moods(&[
        (2, Some(0.2)),
        (3, Some(0.9)),
        (2, Some(0.6)),
        (6, Some(0.8)),
        (2, Some(0.5)),
        (2, Some(0.3)),
    ]));
    let alerts = script.alerts(&angry);
    assert_eq!(changes(&alerts), [(RAISED, 7_000, 13_000), (CLEARED, 7_000, 18_000)]);
    let raised = &alerts[0];
    assert_eq!((raised.value, raised.threshold, raised.channel_name.as_str()), (0.8, 0.7, "customer"));
    assert_eq!(
        (raised.rule.as_str(), raised.priority.as_str(), raised.kind.as_str()),
        ("rule", "high", "emotion")
    );
    assert_eq!((raised.call_id.as_str(), raised.stream_id.as_str()), ("call", "stream"));
    assert_eq!(raised.attributes["queue"], "sales");
    assert_eq!(raised.event_ids.len(), 6, "the events whose windows overlap the evidence: {raised:?}");
    assert_eq!((alerts[1].alert_id.as_str(), alerts[1].value), (raised.alert_id.as_str(), 0.3));
}

#[test]
fn a_silent_window_and_a_gap_interrupt_an_emotion_and_clear_nothing() {
    let angry = evaluator(&[anger(0.7)]);
    let script = Script::one(&moods(&[
        (2, Some(0.9)),
        (1, None),
        (2, Some(0.9)),
        (1, None),
        (3, Some(0.9)),
        (9, None),
    ]));
    let alerts = script.alerts(&angry);
    assert_eq!(
        changes(&alerts),
        [(RAISED, 6_000, 11_000), (CLEARED, 6_000, 20_000)],
        "cleared at the end of the call"
    );
    assert_eq!(alerts[1].value, alerts[0].value);
}

#[test]
fn smoothed_scores_count_where_there_are_any() {
    let angry = evaluator(&[AlertOptions { min_windows: Some(1), ..anger(0.7) }]);
    let stream = stream(1);
    let smoothed = EmotionEvent { smoothed_scores: event(0, 0, 0.2).scores, ..event(0, 0, 0.9) };
    let seen =
        |event| Seen { stream: &stream, channel: 0, channels: 1, start: 0, end: LENGTH, event: Some(event) };
    assert!(angry.window(&mut ChannelStates::default(), &seen(&smoothed)).is_empty());
    assert_eq!(angry.window(&mut ChannelStates::default(), &seen(&event(0, 0, 0.9))).len(), 1);
}

#[test]
fn after_an_alert_its_rule_is_quiet_for_the_cool_down() {
    let again = moods(&[(3, Some(0.9)), (1, Some(0.1)), (10, Some(0.9)), (1, Some(0.1)), (10, Some(0.9))]);
    let quiet = evaluator(&[AlertOptions { cool_down: Duration::from_secs(15), ..anger(0.7) }]);
    let raised = |alerts: Vec<Alert>| alerts.iter().filter(|alert| alert.state == RAISED).count();
    assert_eq!(
        changes(&Script::one(&again).alerts(&quiet))[2].2,
        21_000,
        "the first value 15 s after the end at 6 s"
    );
    let eager = evaluator(&[AlertOptions { cool_down: Duration::ZERO, ..anger(0.7) }]);
    let alerts = Script::one(&again).alerts(&eager);
    let ids: std::collections::BTreeSet<&str> = alerts.iter().map(|alert| alert.alert_id.as_str()).collect();
    assert_eq!((ids.len(), raised(alerts.clone())), (3, 3));
}

#[test]
fn the_mean_valence_falls_below_the_threshold_and_rises_again() {
    let sad =
        AlertOptions { below: Some(-2.0), clear: Some(0.0), within: seconds(10), ..options(Kind::Valence) };
    let script = Script::one(&moods(&[(10, Some(0.1)), (15, Some(0.9)), (15, Some(0.1))]));
    let alerts = script.alerts(&evaluator(&[sad]));
    let found: Vec<&str> = alerts.iter().map(|alert| alert.state.as_str()).collect();
    assert_eq!(found, [RAISED, CLEARED]);
    assert!(alerts[0].value < -2.0 && alerts[0].value > -4.0, "valence = 5 × (0.1 − 0.9): {alerts:?}");
    assert!(alerts[1].value >= 0.0 && alerts[0].event_ids.len() <= 20);
    assert!((17_000..22_000).contains(&ms(&alerts[0].raised_at)), "{alerts:?}");
}

#[test]
fn a_value_needs_enough_windows() {
    let one =
        AlertOptions { below: Some(4.9), within: seconds(9), min_windows: Some(5), ..options(Kind::Valence) };
    let script = Script::one(&moods(&[(4, Some(0.9)), (4, None), (1, Some(0.9))]));
    assert!(script.alerts(&evaluator(std::slice::from_ref(&one))).is_empty());
    let enough = AlertOptions { min_windows: Some(4), ..one };
    assert_eq!(script.alerts(&evaluator(&[enough]))[0].raised_at, Some(Duration::from_secs(6).into()));
}

#[test]
fn a_share_is_that_of_the_analysed_time() {
    let emotion = Some("anger".to_owned());
    let share = AlertOptions { emotion, within: seconds(20), ..above(Kind::Share, 0.5) };
    let script = Script::one(&moods(&[(10, Some(0.1)), (20, None), (4, Some(0.9)), (10, Some(0.1))]));
    let alerts = script.alerts(&evaluator(&[share]));
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    assert_eq!(alerts[0].value, 1.0, "silence counts for nothing");
    assert_eq!(ms(&alerts[0].raised_at), 35_000, "with the third analysed window of the last 20 s");
    assert!(alerts[1].value <= 0.5);
}

#[test]
fn silence_neither_raises_nor_clears_an_alert_over_some_time() {
    let emotion = Some("anger".to_owned());
    let share = AlertOptions { emotion, within: seconds(10), ..above(Kind::Share, 0.5) };
    let valence = AlertOptions { below: Some(-2.0), within: seconds(10), ..options(Kind::Valence) };
    let trend = AlertOptions { below: Some(-2.0), within: seconds(10), ..options(Kind::Trend) };
    let script = Script::one(&moods(&[(10, Some(0.1)), (10, Some(0.9)), (30, None)]));
    for rule in [share, valence, trend] {
        let alerts = script.alerts(&evaluator(&[rule]));
        let ends: Vec<u64> = alerts.iter().filter(|it| it.state == CLEARED).map(|it| ms(&it.end)).collect();
        assert_eq!(ends, [script.end()], "it is cleared by the end of the call alone: {alerts:?}");
        assert!(alerts.iter().all(|alert| ms(&alert.raised_at) <= 22_000), "{alerts:?}");
    }
}

#[test]
fn a_trend_compares_two_spans() {
    let falling = AlertOptions { below: Some(-5.0), within: seconds(10), ..options(Kind::Trend) };
    let script = Script::one(&moods(&[(20, Some(0.1)), (20, Some(0.9))]));
    let alerts = script.alerts(&evaluator(&[falling]));
    assert_eq!(alerts.iter().filter(|alert| alert.state == RAISED).count(), 1, "{alerts:?}");
    assert!(ms(&alerts[0].raised_at) > 22_000 && alerts[0].value < -5.0);
    assert!(
        Script::one(&moods(&[(40, Some(0.9))]))
            .alerts(&evaluator(&[AlertOptions {
                below: Some(-0.1),
                within: seconds(10),
                ..options(Kind::Trend)
            }]))
            .is_empty(),
        "the same mood all the time"
    );
}

fn talk(customer: &[(u64, u64)], agent: &[(u64, u64)], windows: usize) -> Script {
    let moods = vec![vec![Some(0.1); windows]; 2];
    Script { moods, speech: vec![customer.to_vec(), agent.to_vec()] }
}

#[test]
fn silence_of_everybody_raises_an_alert_and_speech_clears_it() {
    let quiet = AlertOptions { hold: seconds(8), ..options(Kind::NonTalk) };
    let script = talk(&[(0, 4_000), (20_000, 22_000)], &[(3_000, 6_000)], 22);
    let alerts = script.alerts(&evaluator(&[quiet]));
    assert_eq!(changes(&alerts), [(RAISED, 6_000, 14_000), (CLEARED, 6_000, 21_000)]);
    assert_eq!((alerts[0].value, alerts[0].threshold, alerts[0].channel_name.as_str()), (8.0, 8.0, ""));
}

#[test]
fn overlap_is_a_share_of_the_time_and_identical_channels_have_none() {
    let both_speak = AlertOptions { within: seconds(10), ..above(Kind::Overlap, 0.3) };
    let script = talk(&[(0, 12_000)], &[(6_000, 15_000)], 20);
    let alerts = script.alerts(&evaluator(std::slice::from_ref(&both_speak)));
    assert_eq!(changes(&alerts)[0], (RAISED, 6_000, 10_000));
    assert!((alerts[0].value - 0.4).abs() < 1e-9, "{alerts:?}");
    let rare = AlertOptions { above: None, below: Some(0.1), ..both_speak };
    let alerts = script.alerts(&evaluator(&[rare]));
    assert_eq!(
        ms(&alerts[0].raised_at),
        22_000,
        "not before 10 s have passed, and while it is rare: {alerts:?}"
    );
}

#[test]
fn interruptions_count_for_the_channel_that_interrupts() {
    let customer = [(0, 5_000), (10_000, 15_000), (20_000, 25_000)];
    let agent = [(3_000, 9_000), (13_000, 19_000), (23_000, 28_000)];
    let script = talk(&customer, &agent, 30);
    let rule = AlertOptions { within: seconds(30), ..above(Kind::Interruptions, 2.0) };
    let alerts = script.alerts(&evaluator(std::slice::from_ref(&rule)));
    assert_eq!(alerts[0].channel_name, "agent");
    assert_eq!((alerts[0].value, changes(&alerts)[0].1), (3.0, 3_000), "{alerts:?}");
    let of_customer = AlertOptions { channel: Some("customer".to_owned()), ..rule };
    assert!(script.alerts(&evaluator(&[of_customer])).is_empty());
}

#[test]
fn both_means_every_analysed_channel_at_once() {
    let rule = AlertOptions { channel: Some("both".to_owned()), ..anger(0.7) };
    let one = Script { moods: vec![vec![Some(0.9); 9], vec![Some(0.2); 9]], speech: vec![vec![]; 2] };
    assert!(one.alerts(&evaluator(std::slice::from_ref(&rule))).is_empty());
    let mut two = one;
    two.moods[1][3..].fill(Some(0.8));
    let alerts = two.alerts(&evaluator(std::slice::from_ref(&rule)));
    assert_eq!(changes(&alerts), [(RAISED, 3_000, 8_000), (CLEARED, 3_000, 11_000)]);
    assert_eq!((alerts[0].channel_name.as_str(), alerts[0].value), ("both", 0.8));
    let any = evaluator(&[anger(0.7)]);
    let channels: Vec<String> = two.alerts(&any).into_iter().map(|alert| alert.channel_name).collect();
    assert_eq!(channels[..2], ["customer", "agent"]);
    let named = evaluator(&[AlertOptions { channel: Some("agent".to_owned()), ..anger(0.7) }]);
    assert!(two.alerts(&named).iter().all(|alert| alert.channel_name == "agent"));
}

#[test]
fn a_rule_on_a_part_of_the_call_ignores_the_rest() {
    let angry = Script::one(&moods(&[(10, Some(0.9)), (20, Some(0.1)), (10, Some(0.9))]));
    let first = evaluator(&[AlertOptions { first: seconds(20), ..anger(0.7) }]);
    assert_eq!(changes(&angry.alerts(&first)), [(RAISED, 0, 5_000), (CLEARED, 0, 13_000)]);
    let late = Script::one(&moods(&[(25, Some(0.1)), (10, Some(0.9))]));
    assert!(late.alerts(&first).is_empty());
    let last = evaluator(&[AlertOptions { last: seconds(10), ..anger(0.7) }]);
    assert_eq!(changes(&angry.alerts(&last)), [(RAISED, 32_000, 37_000), (CLEARED, 32_000, 42_000)]);
    let early = Script::one(&moods(&[(10, Some(0.9)), (20, Some(0.1))]));
    assert!(early.alerts(&last).is_empty());
    let still_angry = Script::one(&moods(&[(40, Some(0.9))]));
    let first = changes(&still_angry.alerts(&first)).to_vec().into_iter().map(|it| it.2).collect::<Vec<_>>();
    assert_eq!(first, [5_000, 21_000], "cleared where the part has ended");
}

#[test]
fn the_summary_has_each_alert_once_in_its_last_state() {
    let angry = evaluator(&[AlertOptions { cool_down: Duration::ZERO, ..anger(0.7) }]);
    let script = Script::one(&moods(&[(5, Some(0.9)), (5, Some(0.1)), (5, Some(0.9))]));
    let (alerts, states) = script.alerts_and_states(&angry);
    let held = &states.of(0).alerts.unwrap().alerts;
    assert_eq!((alerts.len(), held.len()), (4, 2));
    assert!(held.iter().all(|alert| alert.state == CLEARED && alert.attributes.is_empty()));
}
