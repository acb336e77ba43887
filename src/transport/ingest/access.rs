//! Who may send audio over WebSocket.
//!
//! Input: the configuration and the headers of a request. Output: whether it is allowed. Invariant: tokens are compared in constant time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, Uri, header};
use subtle::ConstantTimeEq;

use super::audiohook_signature::{SignatureError, verify};
use super::privacy::Privacy;
use super::twilio::{TrackNames, signature};
use super::{Options, PrivacyOptions};
use crate::security::{Gate, Peer, Principal, Scope};
use crate::transport::OwnHost;

/// What a request for a connection shows before it is accepted.
#[derive(Clone, Copy)]
pub(super) struct Handshake<'a> {
    pub peer: &'a Peer,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

/// Who may send audio, and what is analysed. Clones share the configuration.
#[derive(Clone)]
pub struct Access {
    options: Arc<Options>,
    /// Whether the server listens on loopback only.
    loopback: bool,
    own_host: OwnHost,
    gate: Gate,
    privacy: Arc<Privacy>,
}

impl Access {
    /// Returns the access under a configuration; `address` is that of the server.
    #[must_use]
    pub fn new(options: &Options, privacy: &PrivacyOptions, address: IpAddr, gate: &Gate) -> Self {
        let privacy = Arc::new(Privacy::new(privacy));
        let own_host = OwnHost::new(address, options.public_url.as_deref());
        let loopback = address.to_canonical().is_loopback();
        Self { options: Arc::new(options.clone()), loopback, own_host, gate: gate.clone(), privacy }
    }

    /// The names under which the server is reached.
    pub(in crate::transport) fn own_host(&self) -> &OwnHost {
        &self.own_host
    }

    /// Names of the channels that the model analyses.
    pub(super) fn analyse(&self) -> &[String] {
        &self.options.analyse
    }

    /// What is left of the attributes that name people.
    pub(super) fn privacy(&self) -> &Privacy {
        &self.privacy
    }

    /// Names of the channels of the tracks of Twilio.
    pub(super) fn track_names(&self) -> TrackNames {
        let Options { twilio_inbound, twilio_outbound, .. } = &*self.options;
        TrackNames { inbound: twilio_inbound.clone(), outbound: twilio_outbound.clone() }
    }

    /// Returns the principal of a request to the endpoint of Twilio. A signature decides alone, where it can be checked; without one, the rules of
    /// [`Self::principal`] apply. `None` where the request is refused.
    pub(super) fn twilio_principal(
        &self,
        handshake: Handshake<'_>,
        query: &HashMap<String, String>,
    ) -> Option<Principal> {
        let Options { twilio_auth_tokens: tokens, public_url, .. } = &*self.options;
        match handshake.headers.get("x-twilio-signature") {
            Some(given) if !tokens.is_empty() => {
                let url = public_url.as_deref().unwrap_or_default();
                let path = handshake.uri.path();
                signature::is_valid(tokens, url, path, given.as_bytes()).then(Principal::anonymous)
            }
            _ => self.principal(handshake, query),
        }
    }

    /// Returns the principal of a request: one that has a token of `ingest.tokens`, needs none on loopback, or has credentials of `[auth]` with the
    /// scope `recognize`. `None` where it is refused.
    pub(super) fn principal(
        &self,
        handshake: Handshake<'_>,
        query: &HashMap<String, String>,
    ) -> Option<Principal> {
        let Handshake { peer, headers, .. } = handshake;
        if self.allows(handshake, query) {
            return Some(Principal::anonymous());
        }
        if !self.gate.is_on() {
            return None;
        }
        // Browsers cannot set the header of a WebSocket.
        let of_protocol = || token(headers).map(|token| format!("Bearer {token}").into_bytes());
        let header = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        let authorization = header.or_else(of_protocol);
        self.gate.authorize(peer, authorization.as_deref(), Scope::Recognize).ok()
    }

    /// Checks the API key and the signature of an AudioHook request; neither is needed on loopback where that is configured.
    pub(super) fn check_audiohook(&self, handshake: Handshake<'_>) -> Result<(), SignatureError> {
        if self.needs_no_secret(handshake) {
            return Ok(());
        }
        let target = handshake.uri.path_and_query().map_or("/", |target| target.as_str());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        verify(target, handshake.headers, &self.options.audiohook_keys, now)
    }

    /// Returns the text of the response to a request that is refused: `reason`, or the host where that alone is why a secret is needed.
    pub(super) fn refusal(&self, handshake: Handshake<'_>, reason: &str) -> String {
        let foreign = self.is_insecure().then(|| self.foreign(handshake)).flatten();
        format!("{}\n", foreign.as_deref().unwrap_or(reason))
    }

    /// Returns whether a request is accepted as it is: on loopback, where that is configured, and not from a page of another site. A browser connects to
    /// loopback for any page, and names the page's host and origin.
    fn needs_no_secret(&self, handshake: Handshake<'_>) -> bool {
        self.is_insecure() && self.foreign(handshake).is_none()
    }

    fn is_insecure(&self) -> bool {
        self.loopback && self.options.insecure_loopback
    }

    fn foreign(&self, Handshake { peer, uri, headers }: Handshake<'_>) -> Option<String> {
        self.own_host.refusal(uri, headers, peer.address)
    }

    /// Returns whether a request has a token of `ingest.tokens`, or needs none on loopback.
    fn allows(&self, handshake: Handshake<'_>, query: &HashMap<String, String>) -> bool {
        if self.needs_no_secret(handshake) {
            return true;
        }
        let given = token(handshake.headers).or_else(|| query.get("token").cloned());
        let equal = |given: &str, token: &String| bool::from(given.as_bytes().ct_eq(token.as_bytes()));
        given.is_some_and(|given| self.options.tokens.iter().any(|token| equal(&given, token)))
    }
}

/// Returns the token of `Authorization: Token X` or `Bearer X`, or of `Sec-WebSocket-Protocol: token, X`.
fn token(headers: &HeaderMap) -> Option<String> {
    let text = |name: header::HeaderName| headers.get(name)?.to_str().ok();
    if let Some((scheme, token)) = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '))
        && (scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer"))
    {
        return Some(token.trim().to_owned());
    }
    let mut protocols = text(header::SEC_WEBSOCKET_PROTOCOL)?.split(',').map(str::trim);
    let known = ["token", "bearer"];
    protocols.find(|protocol| known.iter().any(|known| known.eq_ignore_ascii_case(protocol)))?;
    protocols.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(
        options: &Options,
        loopback: bool,
        headers: &[(header::HeaderName, &str)],
        query: &str,
    ) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let query =
            if query.is_empty() { HashMap::new() } else { [("token".to_owned(), query.to_owned())].into() };
        let address: IpAddr = if loopback { "127.0.0.1" } else { "192.0.2.1" }.parse().unwrap();
        let peer = Peer { address: (address, 50_000).into(), certificate: None };
        let handshake = Handshake { peer: &peer, uri: &Uri::from_static("/v1/listen"), headers: &headers };
        Access::new(options, &PrivacyOptions::default(), address, &Gate::open()).allows(handshake, &query)
    }

    #[test]
    fn a_token_comes_in_a_header_a_subprotocol_or_the_query() {
        let options = Options { tokens: vec!["one".to_owned(), "two".to_owned()], ..Options::default() };
        let check = |headers: &[_], query| allowed(&options, true, headers, query);
        assert!(
            check(&[(header::AUTHORIZATION, "Token two")], "")
                && check(&[(header::AUTHORIZATION, "Bearer one")], "")
        );
        for protocols in ["token, one", "Token,one", "audio.drachtio.org, bearer, two"] {
            assert!(check(&[(header::SEC_WEBSOCKET_PROTOCOL, protocols)], ""), "{protocols}");
        }
        assert!(check(&[], "two"));
        assert!(
            !check(&[(header::AUTHORIZATION, "Token on")], "") && !check(&[], "") && !check(&[], "three")
        );
    }

    #[test]
    fn without_tokens_only_loopback_may_be_open() {
        let options = Options { insecure_loopback: true, ..Options::default() };
        assert!(allowed(&options, true, &[], "") && !allowed(&options, false, &[], ""));
        assert!(!allowed(&Options::default(), true, &[], ""));
    }

    #[test]
    fn pages_of_other_sites_need_a_token_on_loopback_too() {
        let options =
            Options { insecure_loopback: true, tokens: vec!["one".to_owned()], ..Options::default() };
        let from = |origin| [(header::HOST, "127.0.0.1:8080"), (header::ORIGIN, origin)];
        assert!(allowed(&options, true, &from("http://127.0.0.1:8080"), ""));
        for other in ["https://example.com", "http://127.0.0.1:3000", "null"] {
            assert!(!allowed(&options, true, &from(other), ""), "{other}");
            assert!(allowed(&options, true, &from(other), "one"), "{other}");
        }
        let rebound = [(header::HOST, "evil.example"), (header::ORIGIN, "http://evil.example")];
        assert!(!allowed(&options, true, &rebound, ""));
        assert!(allowed(&options, true, &rebound, "one"));
    }
}
