//! Tests of the rules of an AudioHook session.

use super::*;

fn session() -> Protocol {
    Protocol::new(Some("s".to_owned()), Some("o".to_owned()))
}

fn text(kind: &str, seq: u64, server_seq: u64, parameters: Json) -> String {
    json!({
        "version": "2", "id": "s", "type": kind, "seq": seq, "serverseq": server_seq, "position": "PT0S",
        "parameters": parameters,
    })
    .to_string()
}

fn open(conversation: &str) -> String {
    let media =
        json!([{"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8_000}]);
    text("open", 1, 0, json!({"organizationId": "o", "conversationId": conversation, "media": media}))
}

fn opened() -> Protocol {
    let mut session = session();
    assert!(matches!(session.text(&open("c")), Ok(Step::Open(open, Channels::Both)) if !open.is_probe()));
    let answer: Json = serde_json::from_str(&session.opened(Channels::Both)).unwrap();
    assert_eq!(
        (&answer["type"], &answer["seq"], &answer["clientseq"]),
        (&json!("opened"), &json!(1), &json!(1))
    );
    assert_eq!(answer["parameters"]["media"][0]["channels"], json!(["external", "internal"]));
    session
}

#[test]
fn audio_belongs_to_an_open_session_that_is_not_paused() {
    assert_eq!(session().audio(320).unwrap_err().0, "audio: before opened");
    let mut session = opened();
    assert_eq!((session.audio(320), session.audio(0)), (Ok(AudioStep::Accept), Ok(AudioStep::Accept)));
    assert!(session.audio(321).is_err(), "half a frame");
    assert_eq!(session.text(&text("paused", 2, 1, json!({}))), Ok(Step::Nothing));
    assert_eq!(session.audio(320), Ok(AudioStep::DropPaused));
    let times = json!({"start": "PT1S", "discarded": "PT2.5S"});
    let hole = Ok(Step::Hole(Duration::from_millis(2_500)));
    assert_eq!(session.text(&text("resumed", 3, 1, times.clone())), hole);
    assert_eq!(session.audio(320), Ok(AudioStep::Accept));
    assert_eq!(session.text(&text("discarded", 4, 1, times)), hole);
    for (seq, kind) in (5..).zip(["dtmf", "playback_started", "playback_completed", "update"]) {
        assert_eq!(session.text(&text(kind, seq, 1, json!({"digit": "5"}))), Ok(Step::Nothing), "{kind}");
    }
}

#[test]
fn a_probe_is_answered_and_has_no_audio() {
    let mut session = session();
    let probe = open("00000000-0000-0000-0000-000000000000");
    assert!(matches!(session.text(&probe), Ok(Step::Reply(answer)) if answer.contains("opened")));
    assert_eq!(session.audio(0), Ok(AudioStep::Ignore));
    assert_eq!(
        session.text(&text("close", 2, 1, json!({"reason": "end"}))),
        Ok(Step::Close(CloseReason::End))
    );
    assert!(session.closed().contains("\"seq\":2"));
}

#[test]
fn a_violation_is_answered_once_and_close_still_works() {
    let cases = [
        (text("ping", 3, 1, json!({})), "seq: 3: expected is 2"),
        (text("ping", 1, 1, json!({})), "seq: 1: expected is 2"),
        (text("ping", 2, 2, json!({})), "serverseq: 2: 1 messages were sent"),
        (text("ping", 2, 1, json!({})).replace("\"s\"", "\"t\""), "id: not that of the session"),
        (text("open", 2, 1, json!({})), "open: parameters"),
        (open("c").replace("\"seq\":1", "\"seq\":2"), "type: open"),
        (text("hello", 2, 1, json!({})), "type: \"hello\" is unknown"),
        ("{".to_owned(), "message: "),
    ];
    for (wrong, expected) in cases {
        let mut session = opened();
        let violation = session.text(&wrong).unwrap_err().0;
        assert!(violation.contains(expected), "{violation}");
        let sent = session.disconnect(DisconnectReason::Error, &violation).unwrap();
        assert!(sent.contains("\"reason\":\"error\"") && sent.contains("\"seq\":2"), "{sent}");
        assert_eq!(session.disconnect(DisconnectReason::Completed, ""), None);
        assert_eq!((session.text(&wrong), session.audio(1)), (Ok(Step::Nothing), Ok(AudioStep::Ignore)));
        let close = text("close", 9, 2, json!({"reason": "disconnect"}));
        assert_eq!(session.text(&close), Ok(Step::Close(CloseReason::Disconnect)));
        assert_eq!(session.text(&close), Ok(Step::Nothing), "it is closing");
    }
}

/// Every message of a session, in order.
fn whole_session() -> Vec<String> {
    let times = json!({"start": "PT1S", "discarded": "PT1S"});
    let messages = [
        ("ping", json!({})),
        ("paused", json!({})),
        ("resumed", times.clone()),
        ("discarded", times),
        ("update", json!({"language": "de-DE"})),
        ("error", json!({"code": 429, "message": "m"})),
        ("close", json!({"reason": "end"})),
    ];
    let numbered = (2..).zip(messages).map(|(seq, (kind, parameters))| text(kind, seq, 1, parameters));
    [open("c")].into_iter().chain(numbered).collect()
}

/// Handles messages up to the first violation; returns its place and its text, or whether the session was closed.
fn handled(messages: &[String]) -> Result<bool, (usize, String)> {
    let mut session = session();
    for (at, message) in messages.iter().enumerate() {
        match session.text(message) {
            Ok(Step::Open(_, channels)) => drop(session.opened(channels)),
            Ok(_) => {}
            Err(violation) => return Err((at, violation.0)),
        }
    }
    Ok(session.has_ended())
}

#[test]
fn each_message_that_is_missing_repeated_swapped_or_cut_is_a_violation() {
    let whole = whole_session();
    assert_eq!(handled(&whole), Ok(true));
    let last = whole.len() - 1;
    for at in 0..whole.len() {
        let (mut missing, mut twice, mut cut) = (whole.clone(), whole.clone(), whole.clone());
        missing.remove(at);
        twice.insert(at, whole[at].clone());
        cut[at].truncate(whole[at].len() / 2);
        let violation =
            |messages: &[String]| handled(messages).map_err(|(at, text)| (at, text[..4].to_owned()));
        let seq = |at: usize| Err((at, "seq:".to_owned()));
        assert_eq!(violation(&missing), if at == last { Ok(false) } else { seq(at) }, "without {at}");
        // What follows a close has no effect.
        assert_eq!(violation(&twice), if at == last { Ok(true) } else { seq(at + 1) }, "{at} twice");
        assert_eq!(violation(&cut), Err((at, "mess".to_owned())), "{at} cut");
        if at < last {
            let mut swapped = whole.clone();
            swapped.swap(at, at + 1);
            assert_eq!(violation(&swapped), seq(at), "{at} behind the next one");
        }
    }
}

#[test]
fn an_open_that_does_not_fit_the_request_is_a_violation() {
    for (from, to, expected) in [
        ("\"organizationId\":\"o\"", "\"organizationId\":\"p\"", "organizationId"),
        ("\"conversationId\":\"c\"", "\"conversationId\":\"\"", "conversationId"),
        ("PCMU", "L16", "media"),
    ] {
        let violation = session().text(&open("c").replace(from, to)).unwrap_err().0;
        assert!(violation.starts_with(expected), "{violation}");
    }
    for kind in ["paused", "resumed", "discarded"] {
        let early = text(kind, 1, 0, json!({"start": "PT0S", "discarded": "PT1S"}));
        assert!(session().text(&early).is_err(), "{kind}");
    }
    assert!(matches!(session().text(&text("ping", 1, 0, json!({}))), Ok(Step::Reply(_))));
}

proptest::proptest! {
    #[test]
    fn no_text_and_no_order_of_messages_panics(
        texts in proptest::collection::vec("[ -~]{0,40}", 0..4),
        kinds in proptest::collection::vec(
            proptest::sample::select(vec!["open", "ping", "paused", "resumed", "discarded", "close", "update", "x"]), 0..12,
        ),
        seconds in "[PTHMS0-9.]{0,12}",
    ) {
        let mut session = session();
        let _ = session.text(&open("c"));
        for (seq, kind) in (2..).zip(kinds) {
            let parameters = json!({"start": "PT0S", "discarded": seconds, "reason": "end"});
            let _ = session.text(&text(kind, seq, 0, parameters));
            let _ = session.audio(320);
        }
        for text in texts {
            let _ = session.text(&text);
        }
    }
}
