//! Bearer tokens: their creation, and the file with their hashes.
//!
//! Input: a TOML file with one `[[token]]` per token. Output: the principal of a presented token. Invariants: the file and the memory of the daemon hold
//! SHA-256 hashes only. A fast hash is enough, because a token has 256 random bits and cannot be guessed. Every hash is compared, in constant time.

use std::path::Path;
use std::time::SystemTime;

use humantime_serde::re::humantime;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::file::read;
use super::scope::Scopes;
use super::{AuthError, SecurityError};

/// The configuration key of the file.
const KEY: &str = "auth.tokens";
/// The beginning of every token, by which scanners of secrets find one that has leaked.
const PREFIX: &str = "affectd_";

/// The SHA-256 hash of a token.
pub(super) type Hash = [u8; 32];

/// A new token.
pub struct NewToken {
    /// The token, which is shown once.
    pub token: String,
    /// The entry for the file of `auth.tokens`, in TOML.
    pub entry: String,
}

impl NewToken {
    /// Creates a token of 256 random bits for the principal `name`.
    ///
    /// # Errors
    /// Returns an error where the operating system has no random numbers.
    pub fn create(name: &str, scopes: Scopes, expires: Option<SystemTime>) -> std::io::Result<Self> {
        let mut bytes = [0; 32];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| std::io::Error::other("the operating system has no random numbers"))?;
        let token = format!("{PREFIX}{}", hex(&bytes));
        let names: Vec<_> = scopes.names().map(|name| format!("{name:?}")).collect();
        let mut entry = format!(
            "[[token]]\nname = {name:?}\nscopes = [{}]\nsha256 = \"{}\"\n",
            names.join(", "),
            hex(&hash(token.as_bytes()))
        );
        if let Some(expires) = expires {
            entry += &format!("expires = \"{}\"\n", humantime::format_rfc3339_seconds(expires));
        }
        Ok(Self { token, entry })
    }
}

/// Returns the hash of a credential.
pub(super) fn hash(credential: &[u8]) -> Hash {
    digest(&SHA256, credential).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, index) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[index..index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The content of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    scopes: Vec<String>,
    sha256: String,
    expires: Option<String>,
}

/// A token of the file.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    name: String,
    scopes: Scopes,
    hash: Hash,
    expires: Option<SystemTime>,
}

/// The tokens of a file.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// Returns an error that names the file and the entry, and no hash.
    pub fn read(path: &Path) -> Result<Self, SecurityError> {
        let error = |reason: String| SecurityError::new(KEY, path, reason);
        let text = String::from_utf8(read(KEY, path)?).map_err(|_| error("is not UTF-8".to_owned()))?;
        let source = config::File::from_str(&text, config::FileFormat::Toml);
        let content = config::Config::builder().add_source(source).build();
        let content = content.and_then(config::Config::try_deserialize::<Content>);
        // The text of the cause may quote the file.
        let content = content.map_err(|_| {
            error("expected [[token]] entries with name, scopes, sha256 and, optionally, expires".to_owned())
        })?;
        let tokens = content.token.into_iter().enumerate();
        let tokens = tokens.map(|(index, entry)| {
            token(entry).map_err(|reason| error(format!("token {}: {reason}", index + 1)))
        });
        tokens.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the name and the scopes of a presented token, by its hash.
    pub fn find(&self, presented: &Hash, now: SystemTime) -> Result<(&str, Scopes), AuthError> {
        let (mut found, mut index) = (Choice::from(0), 0_u64);
        for (at, token) in self.0.iter().enumerate() {
            let equal = token.hash.ct_eq(presented);
            index.conditional_assign(&(at as u64), equal);
            found |= equal;
        }
        if !bool::from(found) {
            return Err(AuthError::UnknownToken);
        }
        let token = &self.0[index as usize];
        match token.expires {
            Some(expires) if expires <= now => Err(AuthError::Expired),
            _ => Ok((&token.name, token.scopes)),
        }
    }
}

fn token(entry: Entry) -> Result<Token, String> {
    let Entry { name, scopes, sha256, expires } = entry;
    if name.is_empty() {
        return Err("name: expected text that is not empty".to_owned());
    }
    let scopes = Scopes::of_all(scopes.iter().map(String::as_str)).filter(|scopes| !scopes.is_empty());
    let scopes = scopes.ok_or("scopes: expected a list of recognize, evaluate, read and admin")?;
    let hash = from_hex(&sha256).ok_or("sha256: expected 64 hexadecimal digits")?;
    let expires = expires.map(|time| humantime::parse_rfc3339(&time)).transpose();
    let expires = expires.map_err(|_| "expires: expected a time such as 2030-01-01T00:00:00Z")?;
    Ok(Token { name, scopes, hash, expires })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tokens(text: &str) -> Result<Tokens, SecurityError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        Tokens::read(&path)
    }

    #[test]
    fn a_created_token_is_found_by_its_entry_until_it_expires() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let one = NewToken::create("one \"quoted\"", "recognize,read".parse().unwrap(), None).unwrap();
        let expires = now + Duration::from_secs(60);
        let two = NewToken::create("two", "admin".parse().unwrap(), Some(expires)).unwrap();
        assert_ne!(one.token, two.token);
        assert!(one.token.len() == PREFIX.len() + 64 && !one.entry.contains(&one.token));
        let tokens = tokens(&format!("{}{}", one.entry, two.entry)).unwrap();
        let find = |token: &str, now| tokens.find(&hash(token.as_bytes()), now);
        let (name, scopes) = find(&one.token, now).unwrap();
        assert_eq!((name, scopes.to_string().as_str()), ("one \"quoted\"", "recognize,read"));
        assert_eq!(find(&two.token, now).unwrap().0, "two");
        assert!(matches!(find(&two.token, expires), Err(AuthError::Expired)));
        assert!(matches!(find("affectd_0", now), Err(AuthError::UnknownToken)));
    }

    #[test]
    fn an_invalid_file_is_refused_without_showing_a_hash() {
        let hash = "ab".repeat(32);
        let cases = [
            (format!("[[token]]\nname = \"a\"\nscopes = [\"all\"]\nsha256 = \"{hash}\""), "token 1: scopes"),
            (format!("[[token]]\nname = \"a\"\nscopes = []\nsha256 = \"{hash}\""), "token 1: scopes"),
            (format!("[[token]]\nname = \"\"\nscopes = [\"read\"]\nsha256 = \"{hash}\""), "token 1: name"),
            (
                format!("[[token]]\nname = \"a\"\nscopes = [\"read\"]\nsha256 = \"{hash}0\""),
                "token 1: sha256",
            ),
            (
                format!(
                    "[[token]]\nname = \"a\"\nscopes = [\"read\"]\nsha256 = \"{hash}\"\nexpires = \"soon\""
                ),
                "expires",
            ),
            (format!("[[token]]\nname = \"a\"\nsha256 = \"{hash}\""), "expected [[token]] entries"),
            (format!("[[tokens]]\nsha256 = \"{hash}\""), "expected [[token]] entries"),
            (format!("sha256 = {hash}"), "expected [[token]] entries"),
        ];
        for (text, reason) in cases {
            let error = tokens(&text).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains(&hash), "{text}: {error}");
        }
        assert!(tokens("").is_ok(), "a file without tokens refuses every token");
    }
}
