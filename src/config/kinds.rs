//! What each kind of value allows: the checks that need more than a parser, and the words for people.
//!
//! In: text. Out: whether it will do. Never looks at a key.

use super::keys::Kind;

/// `host:port`.
pub(super) fn is_host_and_port(pair: &str) -> bool {
    let port = |(host, port): (&str, &str)| !host.trim().is_empty() && port.trim().parse::<u16>().is_ok();
    pair.rsplit_once(':').is_some_and(port)
}

/// Kafka's own rule: letters, digits, `.`, `_` and `-`, at most 249 of them, neither `.` nor `..`.
pub(super) fn is_topic(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

/// What a kind allows, for people.
pub fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Duration { positive: true } => "a duration above 0 with its unit, such as \"30s\"".to_owned(),
        Kind::Duration { positive: false } => {
            "a duration with its unit, such as \"30s\" or \"0s\"".to_owned()
        }
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::IntegerOrAuto { min, max } => format!("auto, or a whole number from {min} to {max}"),
        Kind::Share => "a number from 0 to 1".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Address => "an IP address and a port, such as \"127.0.0.1:8080\"".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Text => "text that is not empty".to_owned(),
        Kind::Brokers => "host:port pairs separated by commas".to_owned(),
        Kind::Topic => "a topic name: letters, digits, '.', '_' and '-', at most 249".to_owned(),
    }
}
