//! Keys that fit together, and keys that contradict each other.

use std::time::Duration;

use super::options::{AlertOptions, Kind};
use super::rule::Rule;

fn emotion() -> AlertOptions {
    AlertOptions {
        name: Some("angry".to_owned()),
        kind: Some(Kind::Emotion),
        emotion: Some("anger".to_owned()),
        above: Some(0.7),
        ..AlertOptions::default()
    }
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn keys_that_fit_make_a_rule_that_reads_as_a_sentence() {
    let rule =
        Rule::new(&AlertOptions { hold: seconds(5), clear: Some(0.5), first: seconds(60), ..emotion() })
            .unwrap();
    assert_eq!(
        rule.to_string(),
        "any channel: probability of anger above 0.7 for 5s, cleared at 0.5, in the first 60s of the call"
    );
    assert_eq!((rule.min_windows, rule.cool_down), (3, 60_000));
    let non_talk =
        AlertOptions { emotion: None, above: None, kind: Some(Kind::NonTalk), hold: seconds(8), ..emotion() };
    assert_eq!(Rule::new(&non_talk).unwrap().to_string(), "call: nobody speaks for 8s");
}

#[test]
fn contradictory_keys_are_refused_with_what_is_allowed() {
    let valence = AlertOptions {
        kind: Some(Kind::Valence),
        emotion: None,
        within: seconds(30),
        above: None,
        below: Some(-2.0),
        ..emotion()
    };
    let overlap =
        AlertOptions { kind: Some(Kind::Overlap), below: None, above: Some(0.2), ..valence.clone() };
    let non_talk =
        AlertOptions { kind: Some(Kind::NonTalk), emotion: None, above: None, hold: seconds(8), ..emotion() };
    Rule::new(&valence).unwrap();
    Rule::new(&overlap).unwrap();
    Rule::new(&non_talk).unwrap();
    for (key, options) in [
        ("name", AlertOptions { name: None, ..emotion() }),
        ("name", AlertOptions { name: Some("n".repeat(65)), ..emotion() }),
        ("kind", AlertOptions { kind: None, ..emotion() }),
        ("emotion", AlertOptions { emotion: None, ..emotion() }),
        ("emotion", AlertOptions { emotion: Some("anger".to_owned()), ..valence.clone() }),
        ("above", AlertOptions { above: None, ..emotion() }),
        ("below", AlertOptions { below: Some(0.1), ..emotion() }),
        ("above", AlertOptions { above: Some(1.0), ..emotion() }),
        ("above", AlertOptions { above: Some(-0.1), ..emotion() }),
        ("below", AlertOptions { below: Some(-5.0), ..valence.clone() }),
        ("clear", AlertOptions { clear: Some(0.8), ..emotion() }),
        ("clear", AlertOptions { clear: Some(-3.0), ..valence.clone() }),
        ("within", AlertOptions { within: None, ..valence.clone() }),
        ("within", AlertOptions { within: seconds(3), ..emotion() }),
        ("last", AlertOptions { first: seconds(9), last: seconds(9), ..emotion() }),
        ("first", AlertOptions { first: seconds(9), ..valence.clone() }),
        ("last", AlertOptions { last: seconds(4), hold: seconds(5), ..emotion() }),
        ("first", AlertOptions { kind: Some(Kind::Trend), first: seconds(59), ..valence.clone() }),
        ("first", AlertOptions { first: seconds(7), ..non_talk.clone() }),
        ("for", AlertOptions { hold: None, ..non_talk.clone() }),
        ("above", AlertOptions { above: Some(3.0), ..non_talk.clone() }),
        ("channel", AlertOptions { channel: Some("customer".to_owned()), ..non_talk }),
        ("channel", AlertOptions { channel: Some("any".to_owned()), ..overlap.clone() }),
        ("min_windows", AlertOptions { min_windows: Some(2), ..overlap }),
    ] {
        let refused = Rule::new(&options).unwrap_err();
        assert_eq!(refused.key, key, "{options:?}: {refused:?}");
        assert!(!refused.allowed.is_empty());
    }
}
