//! Tests of the signature of AudioHook requests.

use super::*;

const NOW: i64 = 1_641_013_200;
const TARGET: &str = "/api/v1/voicebiometrics/ws";
const KEY: &str = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";
const INPUT: &str = r#"sig1=("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" "audiohook-correlation-id" "x-api-key");keyid="SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256";created=1641013200;expires=3282026430"#;

fn keys(secret: &str) -> Vec<ApiKey> {
    vec![ApiKey { key: KEY.to_owned(), secret: STANDARD.decode(secret).unwrap() }]
}

fn headers(changes: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "audiohook.example.com"),
        (ORGANIZATION, "d7934305-0972-4844-938e-9060eef73d05"),
        (SESSION, "30b0e395-84d3-4570-ac13-9a62d8f514c0"),
        (CORRELATION, "e160e428-53e2-487c-977d-96989bf5c99d"),
        (API_KEY, KEY),
        ("signature", "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"),
        ("signature-input", INPUT),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    for (name, value) in changes {
        match *value {
            "" => _ = headers.remove(*name),
            value => _ = headers.insert(*name, value.parse().unwrap()),
        }
    }
    headers
}

fn checked(changes: &[(&'static str, &str)], now: i64) -> Result<(), SignatureError> {
    verify(TARGET, &headers(changes), &keys("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="), now)
}

#[test]
fn the_published_example_is_valid_within_its_time() {
    for now in [NOW, NOW - AHEAD, NOW + OLDEST] {
        assert_eq!(checked(&[], now), Ok(()), "{now}");
    }
    assert_eq!(checked(&[("host", "AudioHook.Example.com")], NOW), Ok(()), "a host has no case");
    for now in [NOW - AHEAD - 1, NOW + OLDEST + 1] {
        assert_eq!(checked(&[], now), Err(SignatureError::Created), "{now}");
    }
}

#[test]
fn a_change_of_anything_that_is_covered_is_found() {
    for name in ["host", ORGANIZATION, SESSION, CORRELATION] {
        assert_eq!(checked(&[(name, "other")], NOW), Err(SignatureError::Wrong), "{name}");
    }
    let keys = keys("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=");
    assert_eq!(verify("/other?", &headers(&[]), &keys, NOW), Err(SignatureError::Wrong));
    assert_eq!(checked(&[("signature", "sig1=:AAAA:")], NOW), Err(SignatureError::Wrong));
    assert_eq!(
        checked(&[("signature", "sig2=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:")], NOW),
        Err(SignatureError::Wrong)
    );
    assert_eq!(checked(&[(API_KEY, "other")], NOW), Err(SignatureError::UnknownKey));
}

#[test]
fn what_is_missing_or_wrong_in_the_input_is_named() {
    for name in [API_KEY, ORGANIZATION, SESSION, CORRELATION, "signature", "signature-input"] {
        assert_eq!(checked(&[(name, "")], NOW), Err(SignatureError::Missing(name)));
    }
    let changed = |from: &str, to: &str| checked(&[("signature-input", &INPUT.replace(from, to))], NOW);
    for name in COVERED {
        assert_eq!(changed(&format!("\"{name}\""), ""), Err(SignatureError::NotCovered(name)));
    }
    assert_eq!(changed("keyid=\"S", "keyid=\"T"), Err(SignatureError::KeyId));
    assert_eq!(changed("keyid", "other"), Err(SignatureError::KeyId));
    assert_eq!(changed("VGhpc0lz", ""), Err(SignatureError::Nonce));
    assert_eq!(changed("hmac-sha256", "hmac-sha1"), Err(SignatureError::Algorithm));
    assert_eq!(changed("created=1641013200;", ""), Err(SignatureError::Created));
    assert_eq!(changed("expires=3282026430", "expires=1641013199"), Err(SignatureError::Expired));
    assert_eq!(changed("\"x-api-key\"", "\"x-api-key\" \"x-none\""), Err(SignatureError::NoSuchHeader));
    for (from, to) in [
        ("(", ""),
        (")", ""),
        ("\"@authority\"", "@authority"),
        ("created=1641013200", "created=now"),
        (";alg", ";created=1641013200;alg"),
        ("=(", ""),
    ] {
        assert_eq!(changed(from, to), Err(SignatureError::Malformed), "{from} as {to}");
    }
}

#[test]
fn only_a_key_without_a_secret_comes_unsigned() {
    let unsigned = headers(&[("signature", ""), ("signature-input", "")]);
    assert_eq!(verify(TARGET, &unsigned, &keys(""), NOW), Ok(()));
    assert_eq!(
        verify(TARGET, &unsigned, &keys("AAAA"), NOW),
        Err(SignatureError::Missing("signature-input"))
    );
    assert_eq!(verify(TARGET, &headers(&[]), &keys(""), NOW), Err(SignatureError::Wrong));
    assert_eq!(verify(TARGET, &unsigned, &[], NOW), Err(SignatureError::UnknownKey));
}

proptest::proptest! {
    #[test]
    fn no_other_input_is_valid(input in "[ -~]{0,80}", at in 0..INPUT.len(), byte in 0x20_u8..0x7f) {
        let input = format!("sig1={input}");
        proptest::prop_assert!(checked(&[("signature-input", &input)], NOW).is_err());
        let mut changed = INPUT.as_bytes().to_vec();
        let same = std::mem::replace(&mut changed[at], byte) == byte;
        let changed = String::from_utf8(changed).unwrap();
        proptest::prop_assert_eq!(checked(&[("signature-input", &changed)], NOW).is_ok(), same, "{}", changed);
    }
}
