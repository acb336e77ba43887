//! The checks of the sections `[ingest]`, `[privacy]` and `[calls]`.
//!
//! Input: values that are valid one by one. Output: the error of the first that does not fit another. Pure.

use super::{ConfigError, Loaded};

/// What `ingest.public_url` may begin with.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// Checks that signatures can be checked, that their URL is one, that the channels of the two tracks differ, that hashes have a key and an attribute,
/// and that no label is positive and negative.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let (ingest, privacy) = (&loaded.config.ingest, &loaded.config.privacy);
    if !ingest.twilio_auth_tokens.is_empty() && ingest.public_url.is_none() {
        let allowed = "the URL that Twilio signs, such as \"https://voice.example.com\", beside ingest.twilio.auth_tokens";
        return Err(loaded.reject("ingest.public_url", allowed));
    }
    if let Some(url) = &ingest.public_url
        && !is_url(url)
    {
        let allowed = "a URL of http, https, ws or wss without spaces, query and fragment, such as \"https://voice.example.com\"";
        return Err(loaded.reject("ingest.public_url", allowed));
    }
    if ingest.twilio_inbound == ingest.twilio_outbound {
        return Err(loaded.reject("ingest.twilio.outbound", "another name than ingest.twilio.inbound"));
    }
    if !privacy.hash.is_empty() && privacy.key.is_none() {
        return Err(loaded.reject("privacy.key", "the key of the hashes, beside privacy.hash"));
    }
    if privacy.hash.iter().any(|name| name.eq_ignore_ascii_case("call_id")) {
        let allowed = "names of attributes other than call_id, which is the id of the call and not hashed";
        return Err(loaded.reject("privacy.hash", allowed));
    }
    let calls = &loaded.config.calls;
    match calls.negative.iter().find(|label| calls.positive.contains(label)) {
        Some(label) => Err(loaded
            .reject("calls.negative", format!("labels that calls.positive does not name, unlike {label:?}"))),
        None => Ok(()),
    }
}

/// Returns whether a text is a URL with a host that a telephony service can reach.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    is_known
        && !rest.starts_with(['/', ':'])
        && !rest.is_empty()
        && !rest.contains(|letter: char| letter.is_whitespace() || "?#".contains(letter))
}
