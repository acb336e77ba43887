//! Tests of the messages of AudioHook clients.

use serde_json::json;

use super::*;

fn message(kind: &str, parameters: Json) -> Result<ClientMessage, String> {
    let text = json!({
        "version": "2", "id": "a", "type": kind, "seq": 1, "serverseq": 0, "position": "PT0S", "parameters": parameters,
    });
    Envelope::parse(&text.to_string())?.into_message()
}

#[test]
fn durations_are_those_of_iso_8601() {
    let seconds = |text| duration(text).map(|time| time.as_secs_f64());
    for (text, expected) in
        [("PT0S", 0.0), ("PT1.2S", 1.2), ("PT1M0.5S", 60.5), ("PT1H1M1S", 3_661.0), ("PT2M", 120.0)]
    {
        assert_eq!(seconds(text), Some(expected), "{text}");
    }
    for text in ["", "PT", "P1D", "PT1", "PT-1S", "PT1S1M", "PT1.2.3S", "PTS", "PT1é", "1.2"] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn both_channels_are_chosen_before_one() {
    let media = |channels: &[&str], format: &str, rate: u32| json!({"type": "audio", "format": format, "channels": channels, "rate": rate});
    let chosen = |media: Vec<Json>| {
        let open = json!({"organizationId": "o", "conversationId": "c", "media": media});
        serde_json::from_value::<Open>(open).unwrap().channels()
    };
    let (both, external) =
        (media(&["external", "internal"], "PCMU", 8_000), media(&["external"], "PCMU", 8_000));
    let internal = media(&["internal"], "PCMU", 8_000);
    assert_eq!(chosen(vec![internal.clone(), external.clone(), both]), Some(Channels::Both));
    assert_eq!(chosen(vec![internal.clone(), external]), Some(Channels::External));
    assert_eq!(chosen(vec![internal]), Some(Channels::Internal));
    let swapped = media(&["internal", "external"], "PCMU", 8_000);
    let others = vec![media(&["external"], "L16", 8_000), media(&["external"], "PCMU", 16_000), swapped];
    assert_eq!((chosen(others), chosen(vec![])), (None, None));
}

#[test]
fn null_and_what_is_no_offer_of_audio_are_passed_over() {
    let pcmu = json!({"type": "audio", "format": "pcmu", "channels": ["external"], "rate": 8_000, "x": 1});
    let media =
        json!([null, {"type": "video"}, {"type": "audio", "format": "PCMU", "rate": "8000"}, 1, pcmu]);
    let open = json!({
        "organizationId": "o", "conversationId": "c", "media": media, "participant": null, "customConfig": null,
        "language": null, "other": {},
    });
    let open: Open = serde_json::from_value(open).unwrap();
    assert_eq!(open.channels(), Some(Channels::External));
    assert_eq!(open.attributes(), [("organization_id".to_owned(), "o".to_owned())].into());
}

#[test]
fn the_attributes_are_those_of_participant_and_configuration() {
    let open: Open = serde_json::from_value(json!({
        "organizationId": "o", "conversationId": "c", "media": [], "language": "en-US",
        "participant": {"id": "p", "ani": "+1", "aniName": "", "dnis": null},
        "customConfig": {"queue": "sales", "level": 2, "nested": {"a": 1}},
    }))
    .unwrap();
    let mut attributes: Vec<_> = open.attributes().into_iter().collect();
    attributes.sort();
    let expected = [
        ("ani", "+1"),
        ("language", "en-US"),
        ("level", "2"),
        ("organization_id", "o"),
        ("participant_id", "p"),
        ("queue", "sales"),
    ];
    assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!open.is_probe());
}

#[test]
fn messages_that_are_wrong_are_named() {
    for (kind, parameters, expected) in [
        ("hello", json!({}), "type: \"hello\" is unknown"),
        ("open", json!({}), "open: parameters"),
        ("close", json!({"reason": "bored"}), "close: parameters"),
        ("resumed", json!({"start": "PT0S"}), "resumed: parameters"),
        ("discarded", json!({"start": "PT0S", "discarded": "3"}), "discarded: start, discarded"),
        ("discarded", json!({"start": "PT0S", "discarded": "PT25H"}), "discarded: start, discarded"),
        ("ping", json!(null), "parameters: not an object"),
    ] {
        let error = message(kind, parameters).unwrap_err();
        assert!(error.contains(expected), "{kind}: {error}");
    }
    for text in [
        "",
        "{}",
        "[]",
        r#"{"version":"1","id":"a","type":"ping","seq":1,"serverseq":0,"position":"PT0S","parameters":{}}"#,
    ] {
        assert!(Envelope::parse(text).is_err(), "{text}");
    }
    assert_eq!(message("ping", json!({"rtt": "PT0.02S"})), Ok(ClientMessage::Ping));
}
