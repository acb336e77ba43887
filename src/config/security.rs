//! Checks of `[tls]` and `[auth]` that concern several keys.
//!
//! Input: valid values. Output: the first key that does not fit the others. Invariants: no file is read.

use super::{ClientAuth, ConfigError, Loaded, Tls};

/// Checks that the keys of `[tls]` and `[auth]` are complete.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    check_tls(loaded)?;
    let auth = &loaded.config.auth;
    let jwt = [
        ("auth.jwks", auth.jwks.is_some(), "the key set of auth.jwt_issuer"),
        ("auth.jwt_issuer", auth.jwt_issuer.is_some(), "the issuer of the tokens beside auth.jwks"),
        ("auth.jwt_audience", auth.jwt_audience.is_some(), "the audience of the tokens beside auth.jwks"),
    ];
    if jwt.iter().any(|(_, set, _)| *set)
        && let Some((key, _, needed)) = jwt.iter().find(|(_, set, _)| !set)
    {
        return Err(loaded.reject(key, *needed));
    }
    if auth.mtls_scopes.is_some() && loaded.config.tls.client_auth == ClientAuth::None {
        let needed = "no value where tls.client_auth is \"none\"";
        return Err(loaded.reject("auth.mtls_scopes", needed));
    }
    Ok(())
}

fn check_tls(loaded: &Loaded) -> Result<(), ConfigError> {
    let Tls { cert, key, client_ca, client_auth } = &loaded.config.tls;
    match (cert, key) {
        (Some(_), None) => return Err(loaded.reject("tls.key", "the private key of tls.cert")),
        (None, Some(_)) => return Err(loaded.reject("tls.cert", "the certificate of tls.key")),
        (None, None) if *client_auth != ClientAuth::None => {
            return Err(loaded.reject("tls.client_auth", "\"none\" where tls.cert is not set"));
        }
        _ => {}
    }
    match client_ca {
        None if *client_auth != ClientAuth::None => {
            Err(loaded
                .reject("tls.client_ca", "the authorities of client certificates beside tls.client_auth"))
        }
        _ => Ok(()),
    }
}

/// Checks that a port which other machines can reach has TLS and authentication, unless `auth.allow_insecure` permits otherwise.
pub(super) fn check_exposure(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let tls = config.tls.cert.is_some();
    let has_auth = config.auth.is_on();
    let http = tls && config.http.tls && (has_auth || config.http.token.is_some());
    let ports =
        [("grpc.address", config.grpc.address, tls && has_auth), ("http.address", config.http.address, http)];
    let open = |(_, address, guarded): &(_, std::net::SocketAddr, bool)| {
        !(address.ip().to_canonical().is_loopback() || *guarded)
    };
    if let Some(address) = config.ingest.audiosocket_address
        && !(address.ip().to_canonical().is_loopback() || config.auth.allow_insecure)
    {
        let allowed = "a loopback address, because AudioSocket has no secrets, or auth.allow_insecure = true";
        return Err(loaded.reject("ingest.audiosocket.address", allowed));
    }
    match ports.into_iter().find(open).filter(|_| !config.auth.allow_insecure) {
        None => Ok(()),
        Some((key, ..)) => Err(loaded.reject(
            key,
            "a loopback address, or TLS (tls.cert, tls.key) and authentication (auth.tokens, auth.jwks or \
             auth.mtls_scopes; http.token for http.address), or auth.allow_insecure = true",
        )),
    }
}
