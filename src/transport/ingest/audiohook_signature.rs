//! The signature of an AudioHook request: HTTP message signatures (draft of RFC 9421) with HMAC-SHA256.
//!
//! Input: the target and the headers of a request, the known API keys and the time. Output: success, or why the request is refused. Pure.
//! Invariant: a signature is compared in constant time.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::audiohook_keys::ApiKey;

/// The header that names the API key.
pub(super) const API_KEY: &str = "x-api-key";
/// The header that identifies the organization.
pub(super) const ORGANIZATION: &str = "audiohook-organization-id";
/// The header that identifies the session.
pub(super) const SESSION: &str = "audiohook-session-id";
/// The header that identifies the attempts of one session.
pub(super) const CORRELATION: &str = "audiohook-correlation-id";
/// What a signature must cover.
const COVERED: [&str; 6] = ["@request-target", "@authority", ORGANIZATION, SESSION, CORRELATION, API_KEY];
/// How far `created` may be ahead of the clock, in seconds.
const AHEAD: i64 = 3;
/// The greatest age of a signature in seconds.
const OLDEST: i64 = 10;
/// The shortest nonce in characters.
const SHORTEST_NONCE: usize = 22;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    #[error("{0}: missing in the headers")]
    Missing(&'static str),
    #[error("x-api-key: unknown (ingest.audiohook.keys)")]
    UnknownKey,
    #[error(
        "signature-input: not of the form LABEL=(\"NAME\" …);keyid=…;nonce=…;created=…, or given several times"
    )]
    Malformed,
    #[error("signature-input: {0} is not covered")]
    NotCovered(&'static str),
    #[error("signature-input: covers a header that the request does not have")]
    NoSuchHeader,
    #[error("signature-input: keyid differs from x-api-key")]
    KeyId,
    #[error("signature-input: nonce has fewer than {SHORTEST_NONCE} characters")]
    Nonce,
    #[error("signature-input: alg is not hmac-sha256")]
    Algorithm,
    #[error("signature-input: created is more than {AHEAD} s ahead or more than {OLDEST} s ago")]
    Created,
    #[error("signature-input: expires is past")]
    Expired,
    #[error("signature: wrong")]
    Wrong,
}

/// Checks the API key and the signature of a request. `target` is path and query as they were sent, `now` is in seconds since 1970.
pub(super) fn verify(
    target: &str,
    headers: &HeaderMap,
    keys: &[ApiKey],
    now: i64,
) -> Result<(), SignatureError> {
    for name in [API_KEY, ORGANIZATION, SESSION, CORRELATION] {
        if text(headers, name).is_none_or(|value| value.is_empty()) {
            return Err(SignatureError::Missing(name));
        }
    }
    let name = text(headers, API_KEY).unwrap_or_default();
    let key = keys.iter().find(|key| key.key == name).ok_or(SignatureError::UnknownKey)?;
    let signed = headers.contains_key("signature-input") || headers.contains_key("signature");
    if key.secret.is_empty() && !signed {
        return Ok(());
    }
    let (label, parameters) = signature_input(headers)?;
    let input = Input::parse(parameters).ok_or(SignatureError::Malformed)?;
    input.check(key, now)?;
    let base = input.signature_base(target, headers, parameters)?;
    let signature = signature(headers, label).ok_or(SignatureError::Wrong)?;
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.secret);
    hmac::verify(&secret, base.as_bytes(), &signature).map_err(|_| SignatureError::Wrong)
}

/// Returns the only value of a header.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// Returns the label of the signature and its parameters.
fn signature_input(headers: &HeaderMap) -> Result<(&str, &str), SignatureError> {
    if !headers.contains_key("signature-input") {
        return Err(SignatureError::Missing("signature-input"));
    }
    if !headers.contains_key("signature") {
        return Err(SignatureError::Missing("signature"));
    }
    text(headers, "signature-input").and_then(|it| it.split_once('=')).ok_or(SignatureError::Malformed)
}

/// Returns the bytes of `LABEL=:BASE64:`.
fn signature(headers: &HeaderMap, label: &str) -> Option<Vec<u8>> {
    let (given, value) = text(headers, "signature")?.split_once('=')?;
    let value = value.strip_prefix(':')?.strip_suffix(':')?;
    (given == label).then(|| STANDARD.decode(value).ok())?
}

/// The covered components and the parameters of a signature.
#[derive(Debug, Default)]
struct Input<'a> {
    components: Vec<&'a str>,
    key_id: Option<&'a str>,
    nonce: Option<&'a str>,
    algorithm: Option<&'a str>,
    created: Option<i64>,
    expires: Option<i64>,
}

impl<'a> Input<'a> {
    /// Reads `("NAME" …);keyid="…";…`; `None` where the text is something else, or has a parameter twice.
    fn parse(text: &'a str) -> Option<Self> {
        let (names, mut rest) = text.strip_prefix('(')?.split_once(')')?;
        let mut input = Self::default();
        for name in names.split(' ').filter(|name| !name.is_empty()) {
            let name = name.strip_prefix('"')?.strip_suffix('"')?;
            if name.contains(['"', '\\']) || input.components.contains(&name) {
                return None;
            }
            input.components.push(name);
        }
        while !rest.is_empty() {
            let (name, value) = rest.strip_prefix(';')?.trim_start_matches(' ').split_once('=')?;
            rest = input.add_parameter(name, value)?;
        }
        Some(input)
    }

    /// Adds the parameter at the start of `value`; returns what follows it.
    fn add_parameter(&mut self, name: &str, value: &'a str) -> Option<&'a str> {
        let (value, rest) = match value.strip_prefix('"') {
            // A backslash would be an escape, which neither keys nor nonces have.
            Some(quoted) => quoted.split_once('"').filter(|(value, _)| !value.contains('\\'))?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        let twice = match name {
            "keyid" => self.key_id.replace(value).is_some(),
            "nonce" => self.nonce.replace(value).is_some(),
            "alg" => self.algorithm.replace(value).is_some(),
            "created" => self.created.replace(value.parse().ok()?).is_some(),
            "expires" => self.expires.replace(value.parse().ok()?).is_some(),
            _ => false,
        };
        (!twice).then_some(rest)
    }

    fn check(&self, key: &ApiKey, now: i64) -> Result<(), SignatureError> {
        if let Some(name) = COVERED.iter().find(|name| !self.components.contains(name)) {
            return Err(SignatureError::NotCovered(name));
        }
        if self.key_id != Some(key.key.as_str()) {
            return Err(SignatureError::KeyId);
        }
        if self.nonce.is_none_or(|nonce| nonce.chars().count() < SHORTEST_NONCE) {
            return Err(SignatureError::Nonce);
        }
        if self.algorithm.is_some_and(|algorithm| algorithm != "hmac-sha256") {
            return Err(SignatureError::Algorithm);
        }
        if !self.created.is_some_and(|at| (now - OLDEST..=now + AHEAD).contains(&at)) {
            return Err(SignatureError::Created);
        }
        if self.expires.is_some_and(|at| at < now) { Err(SignatureError::Expired) } else { Ok(()) }
    }

    /// Returns the text that is signed.
    fn signature_base(
        &self,
        target: &str,
        headers: &HeaderMap,
        parameters: &str,
    ) -> Result<String, SignatureError> {
        let mut base = String::new();
        for name in &self.components {
            let value = match *name {
                "@request-target" => target.to_owned(),
                "@authority" => text(headers, header::HOST.as_str())
                    .ok_or(SignatureError::NoSuchHeader)?
                    .to_ascii_lowercase(),
                name => field(headers, name).ok_or(SignatureError::NoSuchHeader)?,
            };
            base += &format!("\"{name}\": {value}\n");
        }
        Ok(base + "\"@signature-params\": " + parameters)
    }
}

/// Returns the value of a header; several values are joined by a comma.
fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Result<Vec<&str>, _> = headers.get_all(name).iter().map(|it| it.to_str()).collect();
    let values: Vec<&str> = values.ok()?.into_iter().map(str::trim).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
#[path = "audiohook_signature_tests.rs"]
mod tests;
