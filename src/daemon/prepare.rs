//! Preparation of the stages: the topics of Kafka.
//!
//! Input: the configuration. Output: topics that exist and fit, and what they take.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::DaemonError;
use crate::config::{self, Config, Role};
use crate::kafka::{self, KafkaFault};
use crate::stream::Summaries;
use crate::telemetry::Readiness;

/// The first pause before the brokers are tried again, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the prepared topics require of those who write to them.
pub(super) struct Topics {
    /// The largest batch of records that all of them take, in bytes, where it is known.
    pub batch_limit: Option<usize>,
}

/// Ensures that all topics exist; does nothing where Kafka is off. Returns `None` where `shutdown` completed first.
///
/// Brokers that are away are waited for, at most for `kafka.start_timeout`. The requests run in a task of their own, because they block their thread.
pub(super) async fn topics(
    config: &Config,
    readiness: &Readiness,
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Topics>, DaemonError> {
    let Some(kafka) = config.kafka.clone() else { return Ok(Some(Topics { batch_limit: None })) };
    let topic = |model: &config::Model| match &model.role {
        Role::Serving => None,
        Role::Shadow { topic } => topic.clone(),
    };
    let calls = (config.calls.summaries != Summaries::Off).then(|| kafka.calls_topic.clone());
    let alerts = (!config.alerts.is_empty()).then(|| kafka.alerts_topic.clone());
    let others: Vec<String> = config.models.iter().filter_map(topic).chain(calls).chain(alerts).collect();
    readiness.unmet("kafka", format!("waiting for the brokers {}", kafka.brokers));
    let request = tokio::spawn(async move {
        ensure_topics(&kafka, &others).await?;
        Ok::<_, KafkaFault>(Topics { batch_limit: kafka::batch_limit(&kafka, &others).await })
    });
    tokio::select! {
        outcome = request => {
            Ok(Some(outcome.map_err(|_| DaemonError::Stage("request for the topics of Kafka"))??))
        }
        () = shutdown => Ok(None),
    }
}

/// Ensures that all topics exist, and tries again while the brokers are away.
async fn ensure_topics(kafka: &kafka::Options, shadows: &[String]) -> Result<(), KafkaFault> {
    let (deadline, mut pause) = (Instant::now() + kafka.start_timeout, FIRST_PAUSE);
    tracing::info!(brokers = kafka.brokers, "waiting for the brokers of Kafka");
    loop {
        let outcome = kafka::ensure_topics(kafka, shadows).await;
        match outcome {
            Err(fault) if fault.is_passing() && Instant::now() + pause < deadline => {
                kafka::outage::report(&format!("{fault}; it is tried again"));
            }
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
