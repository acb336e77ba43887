//! The deadline of a call, which a client sends as `grpc-timeout`.
//!
//! Input: the metadata and the responses of a call. Output: the same responses; at the deadline DEADLINE_EXCEEDED ends them. Invariant: the responses are
//! dropped before that status is sent, which frees what the call holds. They are ended when the transport next requests a response.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The responses of a streaming call.
pub(super) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Returns `responses`, ended with DEADLINE_EXCEEDED once the time that `metadata` allows has passed.
pub(super) fn until_deadline<T: Send + 'static>(
    metadata: &MetadataMap,
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Responses<T> {
    let header = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
    let allowed = header.and_then(parse_timeout);
    let Some((allowed, end)) = allowed.and_then(|time| Some((time, Instant::now().checked_add(time)?)))
    else {
        return Box::pin(responses);
    };
    let mut responses = Box::pin(responses);
    Box::pin(async_stream::stream! {
        let mut deadline = std::pin::pin!(tokio::time::sleep_until(end));
        loop {
            let next = tokio::select! {
                biased;
                () = &mut deadline => break,
                next = responses.next() => next,
            };
            let Some(response) = next else { return };
            yield response;
        }
        drop(responses);
        yield Err(Status::deadline_exceeded(format!("the call's deadline of {allowed:?} has passed")));
    })
}

/// Parses a `grpc-timeout`: at most eight digits and a unit. Returns `None` for any other value.
fn parse_timeout(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_at_most_eight_digits_and_a_unit() {
        let units = [("H", 3_600_000_000_000), ("M", 60_000_000_000), ("S", 1_000_000_000)];
        let small = [("m", 1_000_000), ("u", 1_000), ("n", 1)];
        for (unit, nanos) in units.into_iter().chain(small) {
            assert_eq!(parse_timeout(&format!("12{unit}")), Some(Duration::from_nanos(12 * nanos)));
        }
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "1.5S", "123456789S", "5 S", "5ü"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong:?}");
        }
    }
}
