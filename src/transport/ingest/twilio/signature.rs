//! The signature of a request of Twilio.
//!
//! Input: the auth tokens, the public URL, the path of the request and the header `X-Twilio-Signature`. Output: whether a token has signed it.
//! Invariant: signatures are compared in constant time.
//!
//! The signature is base64(HMAC-SHA1(auth token, URL)). Twilio signs the URL of the stream as its customer wrote it, so the URL is tried with and
//! without the port and with and without a slash at its end.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, verify};

/// Returns whether `signature` is that of a request for `path` under `public_url` by one of the tokens.
pub(in crate::transport::ingest) fn is_valid(
    tokens: &[String],
    public_url: &str,
    path: &str,
    signature: &[u8],
) -> bool {
    let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
    let urls = urls(public_url, path);
    let is_of = |token: &String| {
        let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
        urls.iter().any(|url| verify(&key, url.as_bytes(), &signature).is_ok())
    };
    tokens.iter().any(is_of)
}

/// Returns the URLs that may have been signed. Proxies end TLS, so the scheme is that of the public URL for Twilio, which is always `wss`.
fn urls(public_url: &str, path: &str) -> Vec<String> {
    let address =
        public_url.split_once("://").map_or(public_url, |(_, address)| address).trim_end_matches('/');
    let (host, prefix) = address.split_at(address.find('/').unwrap_or(address.len()));
    let host = host.strip_suffix(":443").unwrap_or(host);
    let path = path.trim_end_matches('/');
    let ports: &[&str] = if host.rsplit_once(']').map_or(host, |(_, port)| port).contains(':') {
        &[""]
    } else {
        &["", ":443"]
    };
    let with = |port: &&str| ["", "/"].map(|end| format!("wss://{host}{port}{prefix}{path}{end}"));
    ports.iter().flat_map(with).collect()
}

#[cfg(test)]
mod tests {
    use ring::hmac::sign;

    use super::*;

    const PATH: &str = "/ingest/twilio";
    const SIGNATURE: &[u8] = b"Hyw7ZkOBPJwhcmIUPvOk7kjwKKw=";

    fn signed(url: &str) -> String {
        let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
        BASE64_STANDARD.encode(sign(&key, url.as_bytes()))
    }

    fn valid(public_url: &str, signature: &[u8]) -> bool {
        is_valid(&["other".to_owned(), "12345".to_owned()], public_url, PATH, signature)
    }

    #[test]
    fn the_signature_is_that_of_the_url_with_the_scheme_wss() {
        for url in ["wss://example.com", "https://example.com/", "http://example.com:443", "example.com"] {
            assert!(valid(url, SIGNATURE), "{url}");
        }
        assert!(!valid("https://example.org", SIGNATURE) && !valid("https://example.com", b"not base64"));
        assert!(!is_valid(&["54321".to_owned()], "https://example.com", PATH, SIGNATURE));
        assert!(!is_valid(&[], "https://example.com", PATH, SIGNATURE) && !valid("https://example.com", b""));
    }

    #[test]
    fn the_port_of_https_and_a_slash_at_the_end_may_be_part_of_the_url() {
        for path in ["", ":443"] {
            for end in ["", "/"] {
                let signature = signed(&format!("wss://example.com{path}/voice/ingest/twilio{end}"));
                assert!(valid("https://example.com/voice", signature.as_bytes()), "{path}{end}");
            }
        }
        let other_port = signed("wss://example.com:8443/ingest/twilio");
        assert!(valid("https://example.com:8443", other_port.as_bytes()));
        assert!(!valid("https://example.com", other_port.as_bytes()));
        assert!(!valid("https://example.com", signed("wss://example.com/ingest/twilio?a=b").as_bytes()));
        assert!(!valid("https://example.com", signed("https://example.com/ingest/twilio").as_bytes()));
    }
}
