//! Every metric of the daemon: name, kind, labels, unit, buckets, help, in one table.
//!
//! Input: what the stages report through the functions below. Output: Prometheus text, rendered by the handle that [`install`] returns.
//! Invariants: no label holds a stream's id or another value of a client; this module opens no port.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Gauge, Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use super::source::{ChunkMeter, Source, ingest_dropped, rejected};
pub use names::*;

/// The names as Prometheus scrapes them.
mod names {
    /// Streams that are open now.
    pub const STREAMS_ACTIVE: &str = "affectd_streams_active";
    /// Connections that are open now.
    pub const CONNECTIONS_ACTIVE: &str = "affectd_connections_active";
    /// Connections that were closed at once.
    pub const CONNECTIONS_REFUSED_TOTAL: &str = "affectd_connections_refused_total";
    /// Chunks accepted.
    pub const CHUNKS_TOTAL: &str = "affectd_chunks_total";
    /// Seconds of audio accepted; a stream's channels count once.
    pub const AUDIO_SECONDS_TOTAL: &str = "affectd_audio_seconds_total";
    /// Windows that left the model or never reached it.
    pub const WINDOWS_TOTAL: &str = "affectd_windows_total";
    /// Events published.
    pub const EVENTS_TOTAL: &str = "affectd_events_total";
    /// Input refused.
    pub const REJECTED_TOTAL: &str = "affectd_rejected_total";
    /// Audio of calls that was dropped.
    pub const INGEST_DROPPED_SECONDS_TOTAL: &str = "affectd_ingest_dropped_seconds_total";
    /// Alerts that were raised.
    pub const ALERTS_TOTAL: &str = "affectd_alerts_total";
    /// Alerts by what the webhook did with them.
    pub const WEBHOOK_ALERTS_TOTAL: &str = "affectd_webhook_alerts_total";
    /// Records sent to the dead-letter topic.
    pub const DEAD_LETTERS_TOTAL: &str = "affectd_dead_letters_total";
    /// Items that wait in front of a stage.
    pub const QUEUE_DEPTH: &str = "affectd_queue_depth";
    /// Time a window waits for its batch.
    pub const QUEUE_SECONDS: &str = "affectd_queue_seconds";
    /// Windows in one run of the model.
    pub const BATCH_SIZE: &str = "affectd_batch_size";
    /// Time of one run of the model.
    pub const INFERENCE_SECONDS: &str = "affectd_inference_seconds";
    /// Time to turn one chunk into frames.
    pub const FEATURE_SECONDS: &str = "affectd_feature_seconds";
    /// Time from a window's completion to its event's publication.
    pub const END_TO_END_SECONDS: &str = "affectd_end_to_end_seconds";
    /// Records between the lowest unsettled offset and the partition's end.
    pub const KAFKA_LAG: &str = "affectd_kafka_lag";
    /// Commits of offsets that the broker acknowledged.
    pub const KAFKA_COMMITS_TOTAL: &str = "affectd_kafka_commits_total";
    /// Records that the brokers refused.
    pub const KAFKA_REFUSED_TOTAL: &str = "affectd_kafka_refused_total";
    /// Duration of a commit: progress and offsets, or the transaction with both and the events.
    pub const KAFKA_COMMIT_SECONDS: &str = "affectd_kafka_commit_seconds";
    /// Transactions that were aborted.
    pub const KAFKA_TRANSACTIONS_ABORTED_TOTAL: &str = "affectd_kafka_transactions_aborted_total";
    /// Duration of a transaction, whether committed or aborted.
    pub const KAFKA_TRANSACTION_SECONDS: &str = "affectd_kafka_transaction_seconds";
    /// Positions in the input that did not exist any more.
    pub const KAFKA_OFFSET_RESETS_TOTAL: &str = "affectd_kafka_offset_resets_total";
    /// Records of the input that were gone before they were read.
    pub const KAFKA_SKIPPED_RECORDS_TOTAL: &str = "affectd_kafka_skipped_records_total";
    /// Streams that began anew because their progress was lost.
    pub const KAFKA_LOST_PROGRESS_TOTAL: &str = "affectd_kafka_lost_progress_total";
    /// Records that a producer holds.
    pub const KAFKA_PRODUCER_QUEUE_RECORDS: &str = "affectd_kafka_producer_queue_records";
    /// Bytes of the records that a producer holds.
    pub const KAFKA_PRODUCER_QUEUE_BYTES: &str = "affectd_kafka_producer_queue_bytes";
    /// Brokers by the state of the connection.
    pub const KAFKA_BROKERS: &str = "affectd_kafka_brokers";
    /// Changes of the partitions of this daemon.
    pub const KAFKA_REBALANCES_TOTAL: &str = "affectd_kafka_rebalances_total";
    /// Models in use: 1.
    pub const MODEL_INFO: &str = "affectd_model_info";
    /// Streams whose audio does not resemble the training data.
    pub const OUT_OF_DOMAIN_STREAMS: &str = "affectd_out_of_domain_streams";
    /// Windows that a shadow model analysed.
    pub const SHADOW_WINDOWS_TOTAL: &str = "affectd_shadow_windows_total";
    /// Requests that were not authorised.
    pub const AUTH_FAILURES_TOTAL: &str = "affectd_auth_failures_total";
    /// TLS handshakes that failed.
    pub const TLS_HANDSHAKES_FAILED_TOTAL: &str = "affectd_tls_handshakes_failed_total";
    /// Attempts to load changed certificates, tokens or keys.
    pub const SECURITY_RELOADS_TOTAL: &str = "affectd_security_reloads_total";
    /// Attempts to load another model.
    pub const MODEL_RELOADS_TOTAL: &str = "affectd_model_reloads_total";
}

/// The Prometheus type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// A value that only rises.
    Counter,
    /// A value that rises and falls.
    Gauge,
    /// Counts of observations by upper bound, in the metric's unit.
    Histogram(&'static [f64]),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name as Prometheus scrapes it.
    pub name: &'static str,
    /// The Prometheus type.
    pub kind: MetricKind,
    /// The labels, each with the values that are known before the first observation. Their series start at 0.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// The unit of its values.
    pub unit: Unit,
    /// The help text.
    pub help: &'static str,
}

/// 0.1 ms to 10 s: for waiting times, inference and end-to-end latency.
const LATENCY: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// 10 µs to 0.1 s: for the feature computation of one chunk.
const WORK: &[f64] =
    &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1];
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

use MetricKind::{Counter, Gauge as Level, Histogram};

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [(&'static str, &'static [&'static str])],
    unit: Unit,
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, unit, help }
}

/// Every metric of the daemon.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric(STREAMS_ACTIVE, Level, &[], Unit::Count, "Streams that are open now"),
    metric(CONNECTIONS_ACTIVE, Level, &[("server", &["audiosocket", "grpc", "http"])], Unit::Count, "Connections that are open now"),
    metric(CONNECTIONS_REFUSED_TOTAL, Counter, &[("server", &["audiosocket", "grpc", "http"])], Unit::Count, "Connections closed at once because a limit was reached"),
    metric(CHUNKS_TOTAL, Counter, &[("source", Source::KNOWN)], Unit::Count, "Chunks accepted"),
    metric(AUDIO_SECONDS_TOTAL, Counter, &[("source", Source::KNOWN)], Unit::Seconds, "Whole seconds of audio accepted; a stream's channels count once"),
    metric(WINDOWS_TOTAL, Counter, &[("outcome", &["published", "silent", "failed", "dropped"])], Unit::Count, "Windows by what became of them"),
    metric(EVENTS_TOTAL, Counter, &[("emotion", &[])], Unit::Count, "Events published"),
    metric(REJECTED_TOTAL, Counter, &[("source", &[]), ("reason", &[])], Unit::Count, "Chunks or streams refused"),
    metric(INGEST_DROPPED_SECONDS_TOTAL, Counter, &[("source", Source::LIVE)], Unit::Seconds, "Whole seconds of audio that calls dropped because the engine did not keep up"),
    metric(ALERTS_TOTAL, Counter, &[("rule", &[])], Unit::Count, "Alerts raised, by the name of their rule"),
    metric(WEBHOOK_ALERTS_TOTAL, Counter, &[("outcome", &["delivered", "retried", "failed"])], Unit::Count, "Alerts that the webhook accepted, tries that are repeated, and alerts given up"),
    metric(DEAD_LETTERS_TOTAL, Counter, &[("reason", &[])], Unit::Count, "Records sent to the dead-letter topic"),
    metric(QUEUE_DEPTH, Level, &[("stage", &["shard", "batch", "publish"])], Unit::Count, "Items waiting in front of a stage"),
    metric(QUEUE_SECONDS, Histogram(LATENCY), &[("model", &[])], Unit::Seconds, "Time a window waits for its batch"),
    metric(BATCH_SIZE, Histogram(BATCH), &[("model", &[])], Unit::Count, "Windows that went to the model together"),
    metric(INFERENCE_SECONDS, Histogram(LATENCY), &[("model", &[])], Unit::Seconds, "Time of one run of the model: on a CPU of up to four windows"),
    metric(FEATURE_SECONDS, Histogram(WORK), &[], Unit::Seconds, "Time to turn one chunk into frames and windows"),
    metric(END_TO_END_SECONDS, Histogram(LATENCY), &[], Unit::Seconds, "Time from a window's completion to its event's publication"),
    metric(KAFKA_LAG, Level, &[("partition", &[])], Unit::Count, "Records between the lowest unsettled offset and the partition's end"),
    metric(KAFKA_COMMITS_TOTAL, Counter, &[], Unit::Count, "Commits of offsets acknowledged"),
    metric(KAFKA_REFUSED_TOTAL, Counter, &[("outcome", &["retried", "reduced", "dropped"])], Unit::Count, "Events and dead letters that the brokers refused, by what was done with them"),
    metric(KAFKA_COMMIT_SECONDS, Histogram(LATENCY), &[], Unit::Seconds, "Time of one commit; exactly once, of one transaction"),
    metric(KAFKA_TRANSACTIONS_ABORTED_TOTAL, Counter, &[], Unit::Count, "Transactions that were aborted and are tried again"),
    metric(KAFKA_TRANSACTION_SECONDS, Histogram(LATENCY), &[], Unit::Seconds, "Time of one transaction, committed or aborted"),
    metric(KAFKA_OFFSET_RESETS_TOTAL, Counter, &[("reason", &["retention", "truncated"])], Unit::Count, "Partitions read from another offset, because the next record was deleted (retention) or the topic ended before it (truncated)"),
    metric(KAFKA_SKIPPED_RECORDS_TOTAL, Counter, &[], Unit::Count, "Records of the input that were deleted before they were read"),
    metric(KAFKA_LOST_PROGRESS_TOTAL, Counter, &[], Unit::Count, "Streams that began anew because their progress was lost"),
    metric(KAFKA_PRODUCER_QUEUE_RECORDS, Level, &[("producer", &[])], Unit::Count, "Records that a producer holds, not sent or not acknowledged"),
    metric(KAFKA_PRODUCER_QUEUE_BYTES, Level, &[("producer", &[])], Unit::Bytes, "Bytes of the records that a producer holds"),
    metric(KAFKA_BROKERS, Level, &[("state", &["up", "down", "connecting"])], Unit::Count, "Brokers by the state of the input consumer's connection"),
    metric(KAFKA_REBALANCES_TOTAL, Counter, &[("kind", &["assigned", "revoked", "lost"])], Unit::Count, "Changes of the partitions that this daemon reads"),
    metric(MODEL_INFO, Level, &[("name", &[]), ("version", &[]), ("engine", &[]), ("device", &[])], Unit::Count, "Models in use: 1"),
    metric(OUT_OF_DOMAIN_STREAMS, Level, &[], Unit::Count, "Open streams whose audio has not resembled the model's training data for publish.out_of_domain_after"),
    metric(SHADOW_WINDOWS_TOTAL, Counter, &[("model", &[]), ("outcome", &[])], Unit::Count, "Windows that a shadow received, by whether it named the default model's emotion"),
    metric(MODEL_RELOADS_TOTAL, Counter, &[("outcome", &["ok", "failed"])], Unit::Count, "Attempts to load another model"),
    metric(TLS_HANDSHAKES_FAILED_TOTAL, Counter, &[("reason", &["error", "timeout"])], Unit::Count, "TLS handshakes of clients that failed"),
    metric(AUTH_FAILURES_TOTAL, Counter, &[("reason", &[])], Unit::Count, "Requests that were not authorised"),
    metric(SECURITY_RELOADS_TOTAL, Counter, &[("kind", &[]), ("outcome", &[])], Unit::Count, "Attempts to load changed certificates, tokens or key sets"),
];

/// Installs the recorder of the process on the first call and returns its handle; later calls return the same handle.
///
/// The caller renders with [`PrometheusHandle::render`] and calls [`PrometheusHandle::run_upkeep`] every few seconds
/// (the HTTP server does both).
///
/// # Panics
/// Panics if another recorder is installed in the process.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install_recorder).clone()
}

fn install_recorder() -> PrometheusHandle {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Histogram(buckets) = metric.kind {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(matcher, buckets)
                .expect("every histogram of the table has buckets");
        }
    }
    let handle = builder.install_recorder().expect("no other recorder is installed in the process");
    METRICS.iter().for_each(describe);
    handle
}

/// Registers help text and unit, and sets every series whose labels are known beforehand to 0.
fn describe(metric: &Metric) {
    let Metric { name, unit, help, .. } = *metric;
    match metric.kind {
        Counter => metrics::describe_counter!(name, unit, help),
        Level => metrics::describe_gauge!(name, unit, help),
        Histogram(_) => metrics::describe_histogram!(name, unit, help),
    }
    match (metric.kind, metric.labels) {
        (Counter, []) => counter!(name).absolute(0),
        (Counter, [(label, values)]) => {
            values.iter().for_each(|value| counter!(name, *label => *value).absolute(0));
        }
        (Level, []) => gauge!(name).set(0.0),
        (Level, [(label, values)]) => {
            values.iter().for_each(|value| gauge!(name, *label => *value).set(0.0));
        }
        _ => {}
    }
}

/// One unit of a gauge. Dropping the guard takes the unit back.
#[must_use = "the gauge falls again as soon as the guard is dropped"]
pub struct GaugeGuard(Gauge);

impl std::fmt::Debug for GaugeGuard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("GaugeGuard")
    }
}

impl GaugeGuard {
    /// Raises `gauge` by 1.
    pub fn raise(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Counts an open stream until the guard is dropped.
pub fn stream_open() -> GaugeGuard {
    GaugeGuard::raise(gauge!(STREAMS_ACTIVE))
}

/// Counts an open connection of a server (`audiosocket`, `grpc` or `http`) until the guard is dropped.
pub fn connection_open(server: &'static str) -> GaugeGuard {
    GaugeGuard::raise(gauge!(CONNECTIONS_ACTIVE, "server" => server))
}

/// Counts a connection that was closed at once because a limit was reached.
pub fn connection_refused(server: &'static str) {
    counter!(CONNECTIONS_REFUSED_TOTAL, "server" => server).increment(1);
}

/// Sets the number of items that wait in front of a stage (`shard`, `batch` or `publish`).
pub fn queue_depth(stage: &'static str, items: usize) {
    gauge!(QUEUE_DEPTH, "stage" => stage).set(items as f64);
}

/// Counts a window that left the pipeline as `published`, `silent`, `failed` or `dropped`.
pub fn window(outcome: &'static str) {
    counter!(WINDOWS_TOTAL, "outcome" => outcome).increment(1);
}

/// Counts a published event and observes the time since its window was complete.
pub fn event(emotion: &str, end_to_end: Duration) {
    counter!(EVENTS_TOTAL, "emotion" => emotion.to_owned()).increment(1);
    histogram!(END_TO_END_SECONDS).record(end_to_end);
}

/// Counts an alert that its rule has raised. The names of rules are part of the configuration.
pub fn alert(rule: &str) {
    counter!(ALERTS_TOTAL, "rule" => rule.to_owned()).increment(1);
}

/// Sets the alerts of a rule to 0 before it has raised any.
pub fn alert_rule(rule: &str) {
    counter!(ALERTS_TOTAL, "rule" => rule.to_owned()).absolute(0);
}

/// Counts an alert that the webhook has `delivered`, a try that is `retried`, or an alert that has `failed`.
pub fn webhook_alert(outcome: &'static str) {
    counter!(WEBHOOK_ALERTS_TOTAL, "outcome" => outcome).increment(1);
}

/// Counts a record that was sent to the dead-letter topic.
pub fn dead_letter(reason: &'static str) {
    counter!(DEAD_LETTERS_TOTAL, "reason" => reason).increment(1);
}

/// Counts an event or a dead letter that the brokers refused: `retried`, `reduced` to a smaller dead letter, or `dropped`.
pub fn kafka_refused(outcome: &'static str) {
    counter!(KAFKA_REFUSED_TOTAL, "outcome" => outcome).increment(1);
}

/// Counts a change of the partitions of this daemon: assigned, revoked or lost.
pub fn kafka_rebalance(kind: &'static str) {
    counter!(KAFKA_REBALANCES_TOTAL, "kind" => kind).increment(1);
}

/// Counts a partition whose next record is gone for `retention` or `truncated`, and the records that were skipped.
pub fn kafka_offset_reset(reason: &'static str, skipped: u64) {
    counter!(KAFKA_OFFSET_RESETS_TOTAL, "reason" => reason).increment(1);
    counter!(KAFKA_SKIPPED_RECORDS_TOTAL).increment(skipped);
}

/// Sets the number of records between the lowest unsettled offset and the end of a partition.
pub fn kafka_lag(partition: i32, records: u64) {
    gauge!(KAFKA_LAG, "partition" => partition.to_string()).set(records as f64);
}

/// Removes the lag of a partition that is no longer read here from what is exported, see [`render`].
pub fn kafka_lag_removed(partition: i32) {
    gauge!(KAFKA_LAG, "partition" => partition.to_string()).set(f64::NAN);
}

/// Returns the Prometheus text without the series that were removed.
///
/// The facade `metrics` cannot unregister a series, and the exporter's idle timeout would remove every gauge that merely does not change, such as
/// `affectd_model_info`. A removed series is therefore set to NaN, which no metric takes otherwise, and left out here.
#[must_use]
pub fn render(handle: &PrometheusHandle) -> String {
    let text = handle.render();
    text.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(" NaN")).collect()
}

/// Sets the number of streams that are out of domain.
pub fn out_of_domain_streams(streams: usize) {
    gauge!(OUT_OF_DOMAIN_STREAMS).set(streams as f64);
}

/// Counts a window of a shadow model as `agreed`, `disagreed`, `dropped` or `failed`.
pub fn shadow_window(model: &str, outcome: &'static str) {
    counter!(SHADOW_WINDOWS_TOTAL, "model" => model.to_owned(), "outcome" => outcome).increment(1);
}

/// Counts a reload of a model as `ok`, or as `failed` where the previous model stays in service.
pub fn model_reload(outcome: &'static str) {
    counter!(MODEL_RELOADS_TOTAL, "outcome" => outcome).increment(1);
}

/// Counts a TLS handshake that failed, by `error` or `timeout`.
pub fn tls_handshake_failed(reason: &'static str) {
    counter!(TLS_HANDSHAKES_FAILED_TOTAL, "reason" => reason).increment(1);
}

/// Counts a request that was not authorised for `reason`.
pub fn auth_failed(reason: &'static str) {
    counter!(AUTH_FAILURES_TOTAL, "reason" => reason).increment(1);
}

/// Counts a reload of `certificate`, `tokens` or `jwks` as `ok`, or as `failed` where the previous content stays in use.
pub fn security_reload(kind: &'static str, outcome: &'static str) {
    counter!(SECURITY_RELOADS_TOTAL, "kind" => kind, "outcome" => outcome).increment(1);
}

/// Marks a model as in use until the guard is dropped.
pub fn model_in_use(name: &str, version: &str, engine: &str, device: &str) -> GaugeGuard {
    let labels = [("name", name), ("version", version), ("engine", engine), ("device", device)];
    let labels: Vec<(String, String)> = labels.map(|(key, value)| (key.into(), value.into())).to_vec();
    GaugeGuard::raise(gauge!(MODEL_INFO, &labels))
}
