//! Whether a request names this server, which is what protects routes without a credential from pages of other sites.
//!
//! Input: the target, the headers and the peer of a request. Output: why it is refused. Pure.
//!
//! A page of another site cannot read what a server on loopback returns, because its origin differs. It can let the name of its own site resolve to
//! 127.0.0.1 (DNS rebinding), and then the origins are equal. Only the header `Host` shows the name that the browser used.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

use crate::telemetry::excerpt;

/// The names under which clients on this machine, or behind its proxy, reach the server. Clones share them.
#[derive(Debug, Clone)]
pub struct OwnHost {
    /// The address that is bound.
    address: IpAddr,
    /// The host of `ingest.public_url`.
    public: Option<Arc<str>>,
}

impl OwnHost {
    /// Returns the names of a server that is bound to `address` and is reached from outside under `public_url`.
    #[must_use]
    pub fn new(address: IpAddr, public_url: Option<&str>) -> Self {
        let uri = public_url.and_then(|url| url.parse::<Uri>().ok());
        let public = uri.as_ref().and_then(Uri::host).map(bare).map(Into::into);
        Self { address: address.to_canonical(), public }
    }

    /// Returns why a request that no credential protects is refused: its `Host` is another one, or its `Origin` is.
    pub(in crate::transport) fn refusal(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Option<String> {
        // The authority of the target precedes the header (RFC 9112, section 3.2.2).
        let target = uri.authority().map(|authority| Some(authority.as_str()));
        let named: Vec<Option<&str>> = target
            .into_iter()
            .chain(headers.get_all(header::HOST).iter().map(|it| it.to_str().ok()))
            .collect();
        if named.is_empty() && !peer.ip().to_canonical().is_loopback() {
            return Some(self.text("host", "missing"));
        }
        if let Some(other) = named.iter().find(|host| !host.is_some_and(|host| self.is_own(host))) {
            return Some(self.text("host", &format!("{:?}", excerpt(other.unwrap_or_default()))));
        }
        let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or_default();
        let is_own = origin.split_once("://").is_some_and(|(_, origin)| {
            named.iter().flatten().any(|host| host.eq_ignore_ascii_case(origin)) || self.is_public(origin)
        });
        (!is_own).then(|| self.text("origin", &format!("{:?}", excerpt(origin))))
    }

    fn is_own(&self, host: &str) -> bool {
        let Some(name) = host_of(host) else { return false };
        let is_own_address =
            |address: IpAddr| address.is_loopback() || address == self.address && !address.is_unspecified();
        let address = name.parse::<IpAddr>().map(|address| address.to_canonical());
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_own_address) || self.is_public(host)
    }

    fn is_public(&self, host: &str) -> bool {
        let name = host_of(host);
        self.public.as_deref().zip(name.as_deref()).is_some_and(|(own, name)| own.eq_ignore_ascii_case(name))
    }

    fn text(&self, header: &str, value: &str) -> String {
        let public = self.public.as_deref().unwrap_or("the host of ingest.public_url");
        format!(
            "{header}: {value}: allowed without a credential are localhost, loopback addresses, {} and {public}; or set http.token or [auth]",
            self.address
        )
    }
}

/// Returns the host of `HOST` or `HOST:PORT` without brackets and without the dot of the root; `None` where it is neither.
fn host_of(text: &str) -> Option<String> {
    let authority = text.parse::<Authority>().ok().filter(|_| !text.contains('@'))?;
    Some(bare(authority.host()).to_owned())
}

fn bare(host: &str) -> &str {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:50000";

    fn refusal(public_url: Option<&str>, hosts: &[&str], origin: Option<&str>, peer: &str) -> Option<String> {
        let own = OwnHost::new([127, 0, 0, 1].into(), public_url);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        own.refusal(&Uri::from_static("/api/calls"), &headers, peer.parse().unwrap())
    }

    #[test]
    fn loopback_names_and_the_public_host_are_allowed_with_any_port_and_other_names_are_not() {
        let public = Some("wss://Voice.example.com:8443/ingest");
        for own in [
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "127.0.0.1:8080",
            "127.9.8.7",
            "[::1]:80",
            "voice.example.com",
            "voice.example.com:1",
        ] {
            assert_eq!(refusal(public, &[own], None, LOCAL), None, "{own}");
        }
        let others = [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "x@localhost",
            "192.0.2.1",
            "[::2]",
            "0.0.0.0",
            "",
            ":80",
        ];
        for other in others {
            let text = refusal(public, &[other], None, LOCAL).unwrap();
            assert!(text.starts_with("host: ") && text.contains("Voice.example.com"), "{text}");
        }
        assert!(refusal(None, &["voice.example.com"], None, LOCAL).is_some());
        assert!(refusal(public, &["localhost", "evil.example"], None, LOCAL).is_some(), "two headers");
    }

    #[test]
    fn a_missing_host_is_that_of_the_peer() {
        assert_eq!(refusal(None, &[], None, LOCAL), None);
        assert!(refusal(None, &[], None, "192.0.2.1:50000").unwrap().starts_with("host: missing"));
    }

    #[test]
    fn the_target_precedes_the_header() {
        let own = OwnHost::new([127, 0, 0, 1].into(), None);
        let headers = [(header::HOST, "localhost".parse().unwrap())].into_iter().collect();
        let of = |uri: &'static str| own.refusal(&Uri::from_static(uri), &headers, LOCAL.parse().unwrap());
        assert_eq!(of("http://localhost/api/calls"), None);
        assert!(of("http://evil.example/api/calls").is_some());
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let public = Some("https://voice.example.com");
        for own in ["http://localhost:8080", "https://voice.example.com"] {
            assert_eq!(refusal(public, &["localhost:8080"], Some(own), LOCAL), None, "{own}");
        }
        for other in ["https://example.com", "http://localhost:3000", "null"] {
            let text = refusal(public, &["localhost:8080"], Some(other), LOCAL).unwrap();
            assert!(text.starts_with("origin: "), "{text}");
        }
    }
}
