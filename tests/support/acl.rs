//! Rights on a topic or a group of a real broker, by requests of the Kafka protocol: librdkafka's bindings have none for them.
//!
//! Input: the broker's address and a name. Output: a broker that refuses records for that topic or members of that group, or takes them again. The broker must run with an
//! authorizer that allows what nothing forbids, as `tests/kafka-broker` sets it up.

use std::io::{Read, Write};
use std::net::TcpStream;

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const VERSION: i16 = 1;
const TOPIC: u8 = 2;
const GROUP: u8 = 3;
const LITERAL: u8 = 3;
const ALL: u8 = 2;
const READ: u8 = 3;
const WRITE: u8 = 4;
const DENY: u8 = 2;
const ALLOW: u8 = 3;

/// Lets the broker refuse every record for a topic; reading it stays allowed.
pub fn deny_writes(address: &str, topic: &str) {
    // A topic with any rule is closed to all that no rule allows.
    request(
        address,
        CREATE_ACLS,
        &[rule((TOPIC, topic), ALL, ALLOW), rule((TOPIC, topic), WRITE, DENY)].concat(),
        2,
    );
}

/// Lets the broker refuse every member of a group, or accept them again.
pub fn set_members_allowed(address: &str, group: &str, allowed: bool) {
    let deny = rule((GROUP, group), READ, DENY);
    if allowed {
        request(address, DELETE_ACLS, &deny, 1);
    } else {
        request(address, CREATE_ACLS, &[rule((GROUP, group), ALL, ALLOW), deny].concat(), 2);
    }
}

/// Lets the broker take records for a topic again.
pub fn allow_writes(address: &str, topic: &str) {
    request(address, DELETE_ACLS, &rule((TOPIC, topic), WRITE, DENY), 1);
}

/// A rule for everybody; as a filter it has the same form.
fn rule((kind, name): (u8, &str), operation: u8, permission: u8) -> Vec<u8> {
    let principal = if permission == ALLOW { "User:*" } else { "User:ANONYMOUS" };
    let mut bytes = vec![kind];
    bytes.extend(string(name));
    bytes.push(LITERAL);
    bytes.extend(string(principal));
    bytes.extend(string("*"));
    bytes.extend([operation, permission]);
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Sends an array of rules; panics where the broker answers with an error.
fn request(address: &str, key: i16, rules: &[u8], count: i32) {
    let mut body = [key.to_be_bytes(), VERSION.to_be_bytes()].concat();
    body.extend(7_i32.to_be_bytes());
    body.extend(string("affectd-test"));
    body.extend(count.to_be_bytes());
    body.extend(rules);
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    let length = i32::try_from(body.len()).expect("a short request");
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat()).expect("the broker reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("the broker answers");
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
    stream.read_exact(&mut answer).expect("the broker answers");
    // Correlation id, throttle time, the number of results, and the error code of the first.
    let code = i16::from_be_bytes([answer[12], answer[13]]);
    assert_eq!(code, 0, "the broker refuses request {key} with error code {code}");
}
