//! The checks of the sections `[ingest]` and `[privacy]`.
//!
//! Input: values that are valid one by one. Output: the error of the first that does not fit another. Pure.

use super::{ConfigError, Loaded};

/// Checks that signatures can be checked, that their URL is one, that the channels of the two tracks differ, and that hashes have a key.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let (ingest, privacy) = (&loaded.config.ingest, &loaded.config.privacy);
    if !ingest.twilio_auth_tokens.is_empty() && ingest.public_url.is_none() {
        let allowed = "the URL that Twilio signs, such as \"https://voice.example.com\", beside ingest.twilio.auth_tokens";
        return Err(loaded.reject("ingest.public_url", allowed));
    }
    if let Some(url) = &ingest.public_url
        && (url.contains(|letter: char| letter.is_whitespace()) || url.contains(['?', '#']))
    {
        let allowed = "a URL without spaces, query and fragment, such as \"https://voice.example.com\"";
        return Err(loaded.reject("ingest.public_url", allowed));
    }
    if ingest.twilio_inbound == ingest.twilio_outbound {
        return Err(loaded.reject("ingest.twilio.outbound", "another name than ingest.twilio.inbound"));
    }
    if !privacy.hash.is_empty() && privacy.key.is_none() {
        return Err(loaded.reject("privacy.key", "the key of the hashes, beside privacy.hash"));
    }
    Ok(())
}
