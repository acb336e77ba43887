//! What librdkafka's statistics show of its clients.
//!
//! Input: the statistics of a client, every few seconds. Output: metrics. Pure but for the metrics.

use metrics::gauge;
use rdkafka::Statistics;

use crate::telemetry::metrics::{KAFKA_BROKERS, KAFKA_PRODUCER_QUEUE_BYTES, KAFKA_PRODUCER_QUEUE_RECORDS};

/// Reports the queue of a producer: `events`, `progress` or `transactions`.
pub(super) fn producer(producer: &'static str, statistics: &Statistics) {
    gauge!(KAFKA_PRODUCER_QUEUE_RECORDS, "producer" => producer).set(statistics.msg_cnt as f64);
    gauge!(KAFKA_PRODUCER_QUEUE_BYTES, "producer" => producer).set(statistics.msg_size as f64);
}

/// Reports the connections of the input consumer to brokers.
pub(super) fn brokers(statistics: &Statistics) {
    let states =
        statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.source != "logical");
    let states: Vec<&str> = states.map(|broker| state(&broker.state)).collect();
    for state in ["up", "down", "connecting"] {
        let count = states.iter().filter(|found| **found == state).count();
        gauge!(KAFKA_BROKERS, "state" => state).set(count as f64);
    }
}

/// Returns the value of the label for a state of librdkafka. A broker that is not needed is not connected, and has none.
fn state(state: &str) -> &'static str {
    match state {
        "UP" | "UPDATE" | "REAUTH" => "up",
        "DOWN" => "down",
        "INIT" => "unused",
        _ => "connecting",
    }
}
