//! JSON Web Tokens (RFC 7519), checked with the public keys of a JSON Web Key Set.
//!
//! Input: a JWKS file, the issuer and the audience. Output: the subject and the scopes of a presented JWT. Invariants: only asymmetric algorithms are
//! accepted, and only the one of the key; `exp`, `iss`, `aud` and `sub` are required, `nbf` is checked where it is present.

use std::path::Path;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::file::read;
use super::jwt_signature;
use super::scope::Scopes;
use super::{AuthError, SecurityError};

/// The configuration key of the key set.
const KEY: &str = "auth.jwks";
/// Seconds by which the clocks of the issuer and the daemon may differ.
const LEEWAY_SECONDS: u64 = 30;

/// The claims that are read beside the registered ones.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Names separated by spaces (RFC 8693).
    #[serde(default)]
    scope: Option<String>,
    /// A list of names, or names separated by spaces.
    #[serde(default)]
    scp: Option<Names>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Text(String),
}

impl Claims {
    fn scopes(&self) -> Scopes {
        let text = self.scope.iter().flat_map(|text| text.split_whitespace());
        let list: Vec<&str> = match &self.scp {
            Some(Names::List(names)) => names.iter().map(String::as_str).collect(),
            Some(Names::Text(text)) => text.split_whitespace().collect(),
            None => Vec::new(),
        };
        Scopes::of_known(text.chain(list))
    }
}

/// A public key of the set.
struct PublicKey {
    id: Option<String>,
    /// The algorithm that the set declares for the key.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// The public keys of a file, and what a JWT must declare.
pub(super) struct Jwts {
    keys: Vec<PublicKey>,
    issuer: String,
    audience: String,
}

impl Jwts {
    /// Reads the key set. Keys for encryption and symmetric keys are left out.
    ///
    /// # Errors
    /// Returns an error where the file is no key set, or holds no public key for signatures.
    pub fn read(path: &Path, issuer: &str, audience: &str) -> Result<Self, SecurityError> {
        jwt_signature::install();
        let error = |reason: &str| SecurityError::new(KEY, path, reason);
        let set: JwkSet = serde_json::from_slice(&read(KEY, path)?)
            .map_err(|_| error("is not a JSON Web Key Set: expected {\"keys\": [...]}"))?;
        let keys: Vec<_> = set.keys.iter().filter_map(public_key).collect();
        if keys.is_empty() {
            return Err(error("holds no public key of RSA, P-256, P-384 or Ed25519 for signatures"));
        }
        Ok(Self { keys, issuer: issuer.to_owned(), audience: audience.to_owned() })
    }

    /// Returns the subject and the scopes of a JWT.
    pub fn check(&self, token: &str) -> Result<(String, Scopes), AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Malformed)?;
        let fits = |key: &&PublicKey| {
            key.algorithm.is_none_or(|algorithm| algorithm == header.alg)
                && key.key.family() == family(header.alg)
                && (header.kid.is_none() || key.id == header.kid)
        };
        let mut error = AuthError::Signature;
        for key in self.keys.iter().filter(fits) {
            match decode::<Claims>(token, &key.key, &self.validation(header.alg)) {
                Ok(token) => return Ok((token.claims.sub.clone(), token.claims.scopes())),
                // Another key without an id may have signed it.
                Err(cause) => error = refusal(cause.kind()),
            }
            if !matches!(error, AuthError::Signature) {
                break;
            }
        }
        Err(error)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation
    }
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let for_signatures = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    let key = DecodingKey::from_jwk(jwk).ok().filter(|key| key.family() != AlgorithmFamily::Hmac)?;
    let algorithm = match jwk.common.key_algorithm {
        Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
        None => None,
    };
    for_signatures.then(|| PublicKey { id: jwk.common.key_id.clone(), algorithm, key })
}

fn family(algorithm: Algorithm) -> AlgorithmFamily {
    let families = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
    let family = families.into_iter().find(|family| family.algorithms().contains(&algorithm));
    family.unwrap_or(AlgorithmFamily::Hmac)
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAudience => AuthError::Audience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            AuthError::Claims
        }
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => AuthError::Malformed,
        _ => AuthError::Signature,
    }
}
