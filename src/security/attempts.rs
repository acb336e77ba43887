//! The limit of guesses: addresses with too many failed credentials are refused for a while.
//!
//! Input: addresses, credentials, and whether these are accepted. Output: whether a credential may be checked. Invariant: a credential that has been valid
//! is never refused, so that a guessing client does not lock out another one behind the same address.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::AuthError;
use super::failures::Failures;
use super::tokens::{Hash, hash};

/// Valid credentials that are remembered at most, by their hash.
const MAX_KNOWN: usize = 10_000;

/// Failed credentials by address, and those that have been valid.
#[derive(Debug)]
pub struct Attempts(Mutex<State>);

#[derive(Debug)]
struct State {
    failures: Failures,
    /// Hashes of credentials that have been valid.
    known: HashSet<Hash>,
}

impl Attempts {
    /// Returns a limit of `max_failures` a minute for each address (`auth.max_failures`).
    #[must_use]
    pub fn new(max_failures: usize) -> Self {
        Self(Mutex::new(State { failures: Failures::new(max_failures), known: HashSet::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a credential of an address may be tried.
    ///
    /// # Errors
    /// Returns [`AuthError::TooManyFailures`] where the address has had too many failures and the credential has never been valid.
    pub fn check(&self, address: IpAddr, credential: &[u8]) -> Result<(), AuthError> {
        let state = self.state();
        match state.failures.blocked(address, Instant::now()) {
            Some(retry_after) if !state.known.contains(&hash(credential)) => {
                Err(AuthError::TooManyFailures { retry_after })
            }
            _ => Ok(()),
        }
    }

    /// Remembers that a credential is valid.
    pub fn accept(&self, credential: &[u8]) {
        let mut state = self.state();
        if state.known.len() >= MAX_KNOWN {
            state.known.clear();
        }
        state.known.insert(hash(credential));
    }

    /// Counts a failure, and logs the one that blocks the address.
    pub fn fail(&self, address: IpAddr) {
        if self.state().failures.record(address, Instant::now()) {
            tracing::warn!(%address, "too many failed attempts to authenticate, further ones are refused for a minute");
        }
    }
}
