//! The log of librdkafka and of outages: one line when something begins, then at most one a minute, with the number of lines that were left out.
//!
//! Input: log lines and errors of every client of the process, and failures of the daemon's own requests. Output: log lines. Invariant: however many
//! clients and brokers there are, an outage of the brokers gives one line a minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The shortest time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(60);
/// Kinds that are distinguished; librdkafka has some hundred facilities, and few of them warn.
const MAX_KINDS: usize = 64;
/// The kind of all lines about brokers that are away.
const OUTAGE: &str = "brokers";
/// Facilities of librdkafka's lines about brokers that are away.
const OUTAGE_FACILITIES: [&str; 8] =
    ["FAIL", "ERROR", "REQTMOUT", "TIMEOUT", "CONNECT", "SESSTMOUT", "METADATA", "GETPID"];

static LIMITER: Mutex<Limiter> = Mutex::new(Limiter { kinds: BTreeMap::new() });

/// Reports that the brokers are away, refuse requests for now, or do not answer.
pub(crate) fn report(text: &str) {
    if let Some(line) = limited(OUTAGE, text) {
        tracing::warn!("Kafka: {line}");
    }
}

/// Reports something else that passes by itself, apart from outages of the brokers: `kind` has lines of its own.
pub(super) fn report_apart(kind: &'static str, text: &str) {
    if let Some(line) = limited(kind, text) {
        tracing::warn!("Kafka: {line}");
    }
}

/// Reports that the brokers answer again.
pub(super) fn ended(after: Duration) {
    let left_out = LIMITER.lock().unwrap_or_else(PoisonError::into_inner).reset(OUTAGE);
    tracing::info!("Kafka: the brokers answer again after {after:.1?} ({left_out} lines were left out)");
}

/// Handles a log line of librdkafka.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    use RDKafkaLogLevel::{Debug, Info, Notice};
    let is_outage = OUTAGE_FACILITIES.contains(&facility);
    match level {
        _ if is_for_another_client(facility, text) => {
            tracing::debug!(target: "librdkafka", "{facility}: {text}")
        }
        // A connection that was idle is closed with such a line.
        Info | Notice if is_outage => tracing::debug!(target: "librdkafka", "{facility}: {text}"),
        Debug => tracing::debug!(target: "librdkafka", "{facility}: {text}"),
        Info | Notice => tracing::info!(target: "librdkafka", "{facility}: {text}"),
        _ if is_outage => report(text),
        _ => {
            if let Some(line) = limited(facility, text) {
                tracing::warn!(target: "librdkafka", "{facility}: {line}");
            }
        }
    }
}

/// Returns whether a line says that a producer has no use for a property of consumers, or the other way round: all clients get all of `kafka.properties`.
fn is_for_another_client(facility: &str, text: &str) -> bool {
    facility == "CONFWARN" && text.contains("property and will be ignored by this")
}

/// Handles an error of librdkafka. The end of a partition comes as an error too, and is none.
pub(super) fn error(error: &KafkaError, reason: &str) {
    if !matches!(error, KafkaError::PartitionEOF(_) | KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
        report(&format!("{error}: {reason}"));
    }
}

/// Returns whether an error passes once the brokers are back or a topic, a right or a coordinator is there again, so that the same request may succeed.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let lasting = [
        Code::Fatal,
        Code::InvalidArgument,
        Code::InvalidConfig,
        Code::InvalidTopic,
        Code::InvalidGroupId,
        Code::InconsistentGroupProtocol,
        Code::UnsupportedVersion,
        Code::UnsupportedSASLMechanism,
        Code::UnsupportedFeature,
        Code::NotImplemented,
    ];
    error.rdkafka_error_code().is_some_and(|code| !lasting.contains(&code))
}

fn limited(kind: &str, text: &str) -> Option<String> {
    LIMITER.lock().unwrap_or_else(PoisonError::into_inner).line(kind, text, Instant::now())
}

/// Which lines are logged.
#[derive(Default)]
struct Limiter {
    /// By kind: when a line was logged, and how many were left out since.
    kinds: BTreeMap<String, (Instant, u64)>,
}

impl Limiter {
    /// Returns the line to be logged at `now`; `None` where it is left out.
    fn line(&mut self, kind: &str, text: &str, now: Instant) -> Option<String> {
        let Some((logged, left_out)) = self.kinds.get_mut(kind) else {
            if self.kinds.len() < MAX_KINDS {
                self.kinds.insert(kind.to_owned(), (now, 0));
            }
            return Some(text.to_owned());
        };
        if now.saturating_duration_since(*logged) < INTERVAL {
            *left_out += 1;
            return None;
        }
        let before = std::mem::take(left_out);
        *logged = now;
        Some(if before == 0 { text.to_owned() } else { format!("{text} ({before} similar lines before)") })
    }

    /// Lets the next line of a kind be logged at once, and returns how many were left out.
    fn reset(&mut self, kind: &str) -> u64 {
        self.kinds.remove(kind).map_or(0, |(_, left_out)| left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_of_another_kind_of_client_is_no_warning() {
        let line = |rest| format!("[thrd:app]: Configuration property session.timeout.ms {rest}");
        let other = line("is a consumer property and will be ignored by this producer instance");
        assert!(is_for_another_client("CONFWARN", &other));
        assert!(!is_for_another_client("CONFWARN", &line("is deprecated")));
    }

    #[test]
    fn one_line_at_once_then_one_a_minute_with_a_count() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let lines: Vec<String> = (0..1_300)
            .filter_map(|tenth| limiter.line("FAIL", "refused", start + Duration::from_millis(100 * tenth)))
            .collect();
        assert_eq!(
            lines,
            ["refused", "refused (599 similar lines before)", "refused (599 similar lines before)"]
        );
        assert!(limiter.line("MAXPOLL", "another kind", start).is_some());
        assert_eq!(limiter.reset("FAIL"), 99);
        assert!(limiter.line("FAIL", "a new outage", start).is_some());
    }
}
