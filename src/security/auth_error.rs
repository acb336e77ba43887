//! Why a request is not authorised.

use std::time::Duration;

use super::Scope;

/// Why a request is not authorised. No text repeats a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no credential.
    #[error("authorization: missing, expected \"Bearer TOKEN\"")]
    Missing,
    /// The header or the token has another form.
    #[error("authorization: malformed, expected \"Bearer TOKEN\"")]
    Malformed,
    /// No entry has the hash of the token.
    #[error("authorization: the token is unknown")]
    UnknownToken,
    /// The time of the token is over.
    #[error("authorization: the token has expired")]
    Expired,
    /// The time of the JWT has not begun.
    #[error("authorization: the token is not valid yet")]
    NotYetValid,
    /// No key of the set has signed the JWT.
    #[error("authorization: the signature of the token is not valid")]
    Signature,
    /// The JWT has another issuer.
    #[error("authorization: the issuer of the token is not accepted")]
    Issuer,
    /// The JWT has another audience.
    #[error("authorization: the audience of the token is not accepted")]
    Audience,
    /// A claim of the JWT is missing or malformed.
    #[error(
        "authorization: a claim of the token is missing or malformed; required are exp, iss, aud and sub"
    )]
    Claims,
    /// The address has had too many failures.
    #[error("authorization: too many failed attempts from this address, try again in {} s", .retry_after.as_secs() + 1)]
    TooManyFailures {
        /// When the address may try again.
        retry_after: Duration,
    },
    /// The principal lacks a scope.
    #[error("authorization: the scope {:?} is needed", .0.name())]
    Scope(Scope),
}

impl AuthError {
    /// Every label of `affectd_auth_failures_total`.
    pub const REASONS: &[&str] = &[
        "missing",
        "malformed",
        "unknown_token",
        "expired",
        "not_yet_valid",
        "signature",
        "issuer",
        "audience",
        "claims",
        "too_many_failures",
        "scope",
    ];

    /// Returns the label of `affectd_auth_failures_total`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        let index = match self {
            Self::Missing => 0,
            Self::Malformed => 1,
            Self::UnknownToken => 2,
            Self::Expired => 3,
            Self::NotYetValid => 4,
            Self::Signature => 5,
            Self::Issuer => 6,
            Self::Audience => 7,
            Self::Claims => 8,
            Self::TooManyFailures { .. } => 9,
            Self::Scope(_) => 10,
        };
        Self::REASONS[index]
    }

    /// Returns whether the attempt counts as a guess: a credential was presented and is not valid.
    pub(super) fn is_guess(&self) -> bool {
        !matches!(self, Self::Missing | Self::TooManyFailures { .. } | Self::Scope(_))
    }
}
