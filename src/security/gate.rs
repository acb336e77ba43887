//! The gate: turns the credentials of a request into a principal and checks its rights.
//!
//! Input: the peer of a connection, the header `authorization` and the scope that a request needs. Output: a [`Principal`], or an [`AuthError`]. Invariants:
//! every failure is counted; an address with too many failures is refused before its credential is checked, except for a credential that has been valid
//! before, so that a guessing client does not lock out another one behind the same address.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::attempts::Attempts;
use super::jwt::Jwts;
use super::quota::{PrincipalLimits, Quota, Quotas};
use super::reload::Reloaded;
use super::tokens::{Tokens, hash};
use super::{AuthError, AuthOptions, Peer, Scope, Scopes, SecurityError};
use crate::telemetry::metrics;

/// Who a request acts for.
#[derive(Debug, Clone)]
pub struct Principal {
    /// `token/NAME`, `jwt/SUBJECT` or `certificate/SUBJECT`; empty where authentication is off.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// What it may use; `None` where authentication is off.
    pub quota: Option<Arc<Quota>>,
}

impl Principal {
    /// Returns the principal of every request where authentication is off.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: "".into(), scopes: Scopes::default(), quota: None }
    }
}

/// Authenticates and authorises requests. Clones share the state.
#[derive(Clone)]
pub struct Gate(Option<Arc<Checks>>);

struct Checks {
    tokens: Option<Reloaded<Tokens>>,
    jwts: Option<Reloaded<Jwts>>,
    mtls_scopes: Option<Scopes>,
    attempts: Attempts,
    quotas: Quotas,
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("on", &self.0.is_some()).finish()
    }
}

impl Gate {
    /// Returns a gate that lets every request pass.
    #[must_use]
    pub fn open() -> Self {
        Self(None)
    }

    /// Returns whether requests need credentials.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Loads the files of `[auth]`, and again whenever one of them changes. Requires a runtime.
    ///
    /// # Errors
    /// Returns an error that names the key and the file where a file cannot be used.
    pub fn start(options: &AuthOptions, limits: PrincipalLimits) -> Result<Self, SecurityError> {
        if !options.is_on() {
            return Ok(Self::open());
        }
        let tokens = options
            .tokens
            .clone()
            .map(|path| Reloaded::start("tokens", vec![path.clone()], move || Tokens::read(&path)));
        Ok(Self(Some(Arc::new(Checks {
            tokens: tokens.transpose()?,
            jwts: options.jwks.clone().map(|path| jwts(path, options)).transpose()?,
            mtls_scopes: options.mtls_scopes,
            attempts: Attempts::new(options.max_failures),
            quotas: Quotas::new(limits),
        }))))
    }

    /// Returns the principal of a request that needs `scope`.
    ///
    /// # Errors
    /// Returns why the credentials are not accepted, or [`AuthError::Scope`] where they lack the scope.
    pub fn authorize(
        &self,
        peer: &Peer,
        authorization: Option<&[u8]>,
        scope: Scope,
    ) -> Result<Principal, AuthError> {
        let Some(checks) = &self.0 else { return Ok(Principal::anonymous()) };
        let principal = checks.authenticate(peer, authorization).and_then(|principal| {
            if principal.scopes.allow(scope) { Ok(principal) } else { Err(AuthError::Scope(scope)) }
        });
        if let Err(error) = &principal {
            metrics::auth_failed(error.reason());
            tracing::debug!(address = %peer.address.ip(), reason = error.reason(), "a request was not authorised");
        }
        principal
    }
}

fn jwts(path: PathBuf, options: &AuthOptions) -> Result<Reloaded<Jwts>, SecurityError> {
    let (issuer, audience) = (options.jwt_issuer.clone(), options.jwt_audience.clone());
    let (issuer, audience) = (issuer.unwrap_or_default(), audience.unwrap_or_default());
    Reloaded::start("jwks", vec![path.clone()], move || Jwts::read(&path, &issuer, &audience))
}

impl Checks {
    fn authenticate(&self, peer: &Peer, authorization: Option<&[u8]>) -> Result<Principal, AuthError> {
        let Some(header) = authorization else { return self.certified(peer) };
        let address = peer.address.ip();
        self.attempts.check(address, header)?;
        let checked = self.check(header);
        match &checked {
            Ok(_) => self.attempts.accept(header),
            Err(error) if error.is_guess() => self.attempts.fail(address),
            Err(_) => {}
        }
        checked
    }

    /// Returns the principal of the client's certificate, which the handshake has verified.
    fn certified(&self, peer: &Peer) -> Result<Principal, AuthError> {
        let (subject, scopes) = peer.certificate.as_ref().zip(self.mtls_scopes).ok_or(AuthError::Missing)?;
        Ok(self.principal(&format!("certificate/{subject}"), scopes))
    }

    fn check(&self, header: &[u8]) -> Result<Principal, AuthError> {
        let token = bearer(header).ok_or(AuthError::Malformed)?;
        // A JWT has three parts separated by dots, and a token of the file has no dot.
        match (&self.jwts, &self.tokens) {
            (Some(jwts), _) if token.contains('.') => {
                let (subject, scopes) = jwts.current().check(token)?;
                Ok(self.principal(&format!("jwt/{subject}"), scopes))
            }
            (_, Some(tokens)) => {
                let tokens = tokens.current();
                let (name, scopes) = tokens.find(&hash(token.as_bytes()), SystemTime::now())?;
                Ok(self.principal(&format!("token/{name}"), scopes))
            }
            _ => Err(AuthError::UnknownToken),
        }
    }

    fn principal(&self, name: &str, scopes: Scopes) -> Principal {
        let name: Arc<str> = name.into();
        Principal { quota: Some(self.quotas.of(&name)), name, scopes }
    }
}

/// Returns the token of a header `Bearer TOKEN` (RFC 6750); the scheme is not case-sensitive.
fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
