use std::sync::Arc;

use super::super::held_call::{MOST_ALERTS, MOST_CHARACTERS};
use super::*;
use crate::proto::{EmotionEvent, EmotionScore};
use crate::stream::StreamCall;

struct Talk {
    board: Board,
    now: Instant,
}

fn stream(stream_id: &str, call_id: Option<&str>) -> Arc<StreamInfo> {
    Arc::new(StreamInfo {
        stream_id: stream_id.into(),
        channel_names: vec!["customer".into(), "agent".into()],
        call: call_id.map(|id| Arc::new(StreamCall::named(id.into(), "websocket"))),
        attributes: [("queue".to_owned(), "é".repeat(300))].into(),
        ..StreamInfo::default()
    })
}

fn event(anger: f32) -> Option<Arc<EmotionEvent>> {
    let score = |emotion: &str, probability| EmotionScore { emotion: emotion.into(), probability };
    Some(Arc::new(EmotionEvent {
        emotion: "anger".into(),
        confidence: anger,
        scores: vec![score("anger", anger), score("happiness", 1.0 - anger)],
        model: "tiny@1".into(),
        ..EmotionEvent::default()
    }))
}

impl Talk {
    fn new() -> Self {
        Self { board: Board::new(&Options::default()), now: Instant::now() }
    }

    fn window(&mut self, stream: &Arc<StreamInfo>, channel: u32, second: u64) {
        self.window_of((stream, false), channel, second);
    }

    /// A window of a partition's stream, which may have been read before.
    fn window_of_partition(&mut self, stream: &Arc<StreamInfo>, second: u64) {
        self.window_of((stream, true), 0, second);
    }

    fn window_of(&mut self, (stream, resumes): (&Arc<StreamInfo>, bool), channel: u32, second: u64) {
        let start = Duration::from_secs(second);
        let (stream, end) = (stream.clone(), start + Duration::from_secs(3));
        let (loudness, speech) = (Some(-23.456), Some(1.0 / 3.0));
        let event = if channel == 0 { event(0.75) } else { None };
        let window = LiveWindow { stream, channel, start, end, event, loudness, speech, resumes };
        self.board.add(&LiveItem::Window(Arc::new(window)), (self.now, 1_000), true);
    }

    fn end(&mut self, stream: &Arc<StreamInfo>) {
        self.board.add(&LiveItem::Ended(stream.clone()), (self.now, 1_000), true);
    }

    fn end_call(&mut self, stream: &Arc<StreamInfo>) {
        self.board.add(&LiveItem::CallEnded(CallKey::of(stream)), (self.now, 1_000), true);
    }

    /// The first start, the last start, and the number of windows of a call's first channel.
    fn starts(&self, call_id: &str) -> (f32, f32, usize) {
        let windows = self.board.call(call_id).unwrap().windows.remove(0);
        (windows[0].start, windows[windows.len() - 1].start, windows.len())
    }
}

#[test]
fn a_batch_describes_new_calls_and_holds_their_windows_once() {
    let mut talk = Talk::new();
    let one = stream("one", Some("call"));
    talk.window(&one, 0, 0);
    talk.window(&one, 1, 0);
    let batch = talk.board.take_batch(7).unwrap();
    let call = &batch.calls[0];
    assert_eq!((call.call_id.as_str(), call.source, call.since, batch.time), ("call", "websocket", 1_000, 7));
    assert_eq!(call.attributes["queue"].chars().count(), MOST_CHARACTERS);
    let names: Vec<_> = call.channels.iter().map(|it| (it.name.as_str(), it.labels.len())).collect();
    assert_eq!(names, [("customer", 2), ("agent", 0)]);
    let json = serde_json::to_value(&batch.windows).unwrap();
    let expected = serde_json::json!([
        {"call_id": "call", "channel": 0, "start": 0.0, "end": 3.0, "emotion": "anger", "confidence": 0.75,
         "valence": -2.5, "loudness": -23.46, "speech": 0.33, "scores": [750, 250]},
        {"call_id": "call", "channel": 1, "start": 0.0, "end": 3.0, "emotion": "", "confidence": 0.0,
         "loudness": -23.46, "speech": 0.33},
    ]);
    assert_eq!(json, expected);
    assert!(talk.board.take_batch(8).is_none());
    talk.window(&one, 0, 1);
    let batch = talk.board.take_batch(9).unwrap();
    assert_eq!((batch.calls.len(), batch.windows.len()), (0, 1));
}

#[test]
fn a_call_ends_with_its_last_stream_and_a_transfer_goes_on_behind_it() {
    let mut talk = Talk::new();
    let (one, two) = (stream("one", Some("call")), stream("two", Some("call")));
    talk.window(&one, 0, 4);
    talk.end(&one);
    assert_eq!(talk.board.take_batch(0).unwrap().ended, ["call"]);
    talk.window(&two, 0, 1);
    let call = talk.board.call("call").unwrap();
    assert_eq!((call.call.ended, call.call.stream_ids.len()), (false, 2));
    assert_eq!(call.windows[0].last().map(|window| window.start), Some(7.0 + 1.0));
    talk.end(&two);
    let ended = talk.now;
    talk.board.expire(ended + KEEP_ENDED / 2);
    assert!(talk.board.call("call").is_some());
    talk.board.expire(ended + KEEP_ENDED);
    assert!(talk.board.call("call").is_none());
    assert_eq!(talk.board.take_batch(0).unwrap().removed, ["call"]);
}

#[test]
fn a_stream_behind_the_summary_of_a_call_begins_another_call_of_its_id() {
    let mut talk = Talk::new();
    let (old, new) = (stream("old", Some("call")), stream("new", Some("call")));
    let alert = |alert_id: &str| {
        let (alert_id, call_id) = (alert_id.to_owned(), "call".to_owned());
        Arc::new(LiveAlert { alert_id, call_id, ..LiveAlert::default() })
    };
    (0..9).for_each(|second| talk.window(&old, 0, second));
    talk.window(&old, 1, 0);
    talk.board.add(&LiveItem::Alert(old.clone(), alert("a")), (talk.now, 0), true);
    talk.end(&old);
    assert!(!talk.board.call("call").unwrap().call.summarised);
    talk.end_call(&old);
    let before = talk.board.call("call").unwrap().call;
    assert!(before.ended && before.summarised);
    // All of this is in one batch, which holds nothing of the call before.
    talk.window(&new, 0, 0);
    talk.window(&new, 0, 1);
    let batch = talk.board.take_batch(0).unwrap();
    assert_eq!((batch.windows.len(), batch.alerts.len(), batch.ended.len()), (2, 0, 0));
    let call = &batch.calls[0];
    assert_eq!((batch.calls.len(), &call.stream_ids[..]), (1, &["new".to_owned()][..]));
    assert!(!call.ended && !call.summarised && call.since > before.since);
    assert_eq!((call.channels.len(), talk.starts("call")), (1, (0.0, 1.0, 2)));
    assert!(talk.board.call("call").unwrap().alerts.is_empty());
    // A late end of the stream before ends nothing.
    talk.end(&old);
    assert!(!talk.board.call("call").unwrap().call.ended);
    // An alert may come before the first window of the next call.
    talk.end(&new);
    talk.end_call(&new);
    talk.board.add(&LiveItem::Alert(stream("next", Some("call")), alert("b")), (talk.now, 0), true);
    let call = talk.board.call("call").unwrap();
    assert_eq!((call.call.stream_ids, call.alerts.len()), (vec!["next".to_owned()], 1));
}

#[test]
fn a_call_is_over_with_its_summary_even_where_the_end_of_a_stream_comes_later() {
    let mut talk = Talk::new();
    let one = stream("one", Some("call"));
    talk.window(&one, 0, 0);
    talk.end_call(&one);
    talk.end(&one);
    let batch = talk.board.take_batch(0).unwrap();
    assert_eq!((batch.ended, batch.calls[0].summarised), (vec!["call".to_owned()], true));
}

#[test]
fn a_stream_id_that_is_used_again_begins_anew_and_that_of_a_partition_goes_on() {
    for call_id in [None, Some("one")] {
        let mut talk = Talk::new();
        let opened = |_| stream("one", call_id);
        let [first, again, moved, read_again] = [0, 1, 2, 3].map(opened);
        (0..3).for_each(|second| talk.window(&first, 0, second));
        // The next stream of this id opens before the end of the first one arrives.
        talk.window(&again, 0, 0);
        talk.end(&first);
        assert!(!talk.board.call("one").unwrap().call.ended);
        talk.window(&again, 0, 1);
        talk.end(&again);
        // Without a call it is a call of its own, and else a part of the call that follows the one before.
        let begins = if call_id.is_none() { (0.0, 1.0, 2) } else { (0.0, 6.0, 5) };
        assert_eq!(talk.starts("one"), begins, "{call_id:?}");
        let (_, last, number) = begins;
        talk.window_of_partition(&moved, 2);
        talk.end(&moved);
        assert_eq!(talk.starts("one"), (0.0, last + 1.0, number + 1), "{call_id:?}");
        // Read from its beginning, it is not known to be the same.
        talk.window_of_partition(&read_again, 0);
        let (first, _, number) = talk.starts("one");
        assert_eq!((first, number == 1), (0.0, call_id.is_none()), "{call_id:?}");
    }
}

#[test]
fn a_call_whose_end_was_missed_is_removed_after_a_while() {
    let mut talk = Talk::new();
    talk.window(&stream("one", None), 0, 0);
    talk.board.missed(3);
    assert_eq!(talk.board.take_batch(0).unwrap().missed, 3);
    talk.board.expire(talk.now + KEEP_QUIET);
    assert!(talk.board.call("one").is_none());
}

#[test]
fn calls_windows_and_alerts_are_bounded() {
    let mut talk = Talk::new();
    for number in 0..MOST_CALLS + 2 {
        talk.window(&stream(&number.to_string(), None), 0, 0);
    }
    assert_eq!(talk.board.take_batch(0).unwrap().hidden, 2);
    let first = stream("0", None);
    (1..=MOST_WINDOWS as u64).for_each(|second| talk.window(&first, 0, second));
    let alert = |number: usize| {
        let (alert_id, call_id) = (number.to_string(), "0".to_owned());
        let alert = LiveAlert { alert_id, call_id, ..LiveAlert::default() };
        LiveItem::Alert(first.clone(), Arc::new(alert))
    };
    for number in 0..=MOST_ALERTS {
        talk.board.add(&alert(number), (talk.now, 0), false);
        talk.board.add(&alert(number), (talk.now, 0), false);
    }
    let call = talk.board.call("0").unwrap();
    assert_eq!((call.windows[0].len(), call.windows[0][0].start), (MOST_WINDOWS, 1.0));
    assert_eq!((call.alerts.len(), call.alerts[0].alert_id.as_str()), (MOST_ALERTS, "1"));
    let snapshot = talk.board.snapshot(0);
    let found = snapshot.calls.iter().find(|call| call.call.call_id == "0").unwrap();
    assert_eq!((snapshot.calls.len(), found.windows[0].len()), (MOST_CALLS, SNAPSHOT_WINDOWS));
    assert!(found.windows[0].iter().all(|window| window.scores.is_empty()));
}

#[test]
fn alerts_of_a_later_stream_are_placed_in_the_call() {
    let mut talk = Talk::new();
    let (one, two) = (stream("one", Some("call")), stream("two", Some("call")));
    talk.window(&one, 0, 4);
    talk.end(&one);
    let alert = |alert_id: &str, end| {
        let (alert_id, call_id) = (alert_id.to_owned(), "call".to_owned());
        Arc::new(LiveAlert { alert_id, call_id, start: 2.0, end, ..LiveAlert::default() })
    };
    // The first stream ends at 7 s. An alert may come before the first window of its stream, and behind its end.
    talk.board.add(&LiveItem::Alert(two.clone(), alert("a", None)), (talk.now, 0), true);
    talk.window(&two, 0, 1);
    talk.end(&two);
    talk.board.add(&LiveItem::Alert(two, alert("a", Some(3.0))), (talk.now, 0), true);
    talk.board.add(&LiveItem::Alert(one, alert("b", Some(3.0))), (talk.now, 0), true);
    let call = talk.board.call("call").unwrap();
    assert!(call.call.ended, "an alert opens no stream again");
    assert_eq!(call.windows[0].last().map(|window| window.start), Some(8.0));
    let times = |alerts: &[LiveAlert]| alerts.iter().map(|it| (it.start, it.end)).collect::<Vec<_>>();
    assert_eq!(times(&call.alerts), [(9.0, Some(10.0)), (2.0, Some(3.0))]);
    let batch = talk.board.take_batch(0).unwrap();
    assert_eq!(times(&batch.alerts), [(9.0, None), (9.0, Some(10.0)), (2.0, Some(3.0))]);
}

#[test]
fn calls_of_two_principals_with_one_id_are_two_calls() {
    let mut talk = Talk::new();
    let of = |owner: &str| {
        let stream = stream("one", Some("call"));
        Arc::new(StreamInfo { owner: owner.into(), ..(*stream).clone() })
    };
    let (one, other) = (of("token/a"), of("token/b"));
    talk.window(&one, 0, 0);
    talk.window(&other, 0, 0);
    let alert = Arc::new(LiveAlert { call_id: "call".to_owned(), ..LiveAlert::default() });
    talk.board.add(&LiveItem::Alert(other.clone(), alert), (talk.now, 0), true);
    talk.end(&one);
    let batch = talk.board.take_batch(0).unwrap();
    let mut ids: Vec<_> = batch.calls.iter().map(|call| call.call_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!((ids, batch.ended), (vec!["call", "call (token/b)"], vec!["call".to_owned()]));
    assert_eq!(
        (batch.windows[1].call_id.as_str(), batch.alerts[0].call_id.as_str()),
        ("call (token/b)", "call (token/b)")
    );
    let found = talk.board.call("call (token/b)").unwrap();
    assert_eq!((found.call.ended, found.alerts.len()), (false, 1));
    assert!(talk.board.call("call").unwrap().alerts.is_empty());
}
