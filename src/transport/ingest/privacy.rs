//! What is left of the attributes that name people.
//!
//! Input: the attributes of a call. Output: the same without the personal ones, and with hashes in place of values that are only compared.
//! Invariants: every ingest applies it before a stream opens; names are compared without regard to case; an attribute that should be hashed and
//! cannot be, because there is no key, is dropped.

use std::collections::HashMap;

use ring::hmac::{HMAC_SHA256, Key, sign};

use super::PrivacyOptions;

/// Attributes that name people or their numbers. `channel` is that of Asterisk, such as `PJSIP/+4930123456-00000001`.
pub(super) const PERSONAL: [&str; 8] =
    ["ani", "aniName", "callerId", "callerName", "channel", "dnis", "from", "to"];

/// Which attributes are kept, and which are hashed.
#[derive(Debug, Clone, Default)]
pub(super) struct Privacy {
    keep: Vec<String>,
    hash: Vec<String>,
    key: Option<Key>,
}

impl Privacy {
    /// Returns the handling under a configuration.
    pub fn new(options: &PrivacyOptions) -> Self {
        let key = options.key.as_ref().map(|key| Key::new(HMAC_SHA256, key.as_bytes()));
        Self { keep: options.keep.clone(), hash: options.hash.clone(), key }
    }

    /// Drops and hashes attributes.
    pub fn apply(&self, attributes: &mut HashMap<String, String>) {
        attributes.retain(|name, value| {
            if is_in(name, &self.hash) {
                let Some(key) = &self.key else { return false };
                *value = hexadecimal(sign(key, value.as_bytes()).as_ref());
                return true;
            }
            !is_in(name, &PERSONAL) || is_in(name, &self.keep)
        });
    }
}

/// Returns whether a name is one of a list, without regard to case.
pub(super) fn is_in(name: &str, names: &[impl AsRef<str>]) -> bool {
    names.iter().any(|other| other.as_ref().eq_ignore_ascii_case(name))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(options: &PrivacyOptions, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut attributes = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Privacy::new(options).apply(&mut attributes);
        let mut left: Vec<_> = attributes.into_iter().collect();
        left.sort();
        left
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn personal_attributes_are_dropped_unless_they_are_kept() {
        let all = [
            ("From", "+1"),
            ("to", "+2"),
            ("ani", "a"),
            ("aniName", "b"),
            ("dnis", "c"),
            ("queue", "q"),
            ("channel", "PJSIP/+49"),
            ("callerId", "d"),
            ("callername", "e"),
        ];
        assert_eq!(applied(&PrivacyOptions::default(), &all), [("queue".into(), "q".into())]);
        let options = PrivacyOptions { keep: names(&["from"]), ..PrivacyOptions::default() };
        assert_eq!(applied(&options, &all), [("From".into(), "+1".into()), ("queue".into(), "q".into())]);
    }

    #[test]
    fn a_hash_is_the_hmac_of_the_value() {
        let options =
            PrivacyOptions { hash: names(&["from"]), key: Some("key".into()), keep: names(&["from"]) };
        let text = "The quick brown fox jumps over the lazy dog";
        // The example of Wikipedia's article on HMAC.
        let expected = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        assert_eq!(applied(&options, &[("from", text)]), [("from".into(), expected.into())]);
        let without_key = PrivacyOptions { key: None, ..options };
        assert_eq!(applied(&without_key, &[("from", text)]), []);
    }
}
