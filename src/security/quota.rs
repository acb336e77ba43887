//! What one principal may use: open streams, new streams a second, bytes a second, evaluations.
//!
//! Input: [`PrincipalLimits`]. Output: permits that are returned when they are dropped, and waiting times. Invariants: the principals share nothing; a rate
//! allows a burst of one second; a lock is held for one operation, never across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;

/// Principals that are remembered at most without an open stream or evaluation.
const MAX_IDLE: usize = 10_000;
/// When a client may try again where the time at which a permit is returned is not known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The limits of each principal (`limits.principal_*`); `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrincipalLimits {
    /// Streams that are open at once.
    pub streams: Option<usize>,
    /// New streams a second.
    pub streams_per_second: Option<usize>,
    /// Bytes of audio a second.
    pub bytes_per_second: Option<usize>,
    /// Evaluations at once.
    pub evaluations: Option<usize>,
}

/// A limit of a principal that a request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} {what} are allowed for one principal ({key})")]
pub struct QuotaExceeded {
    /// The configuration key.
    pub key: &'static str,
    /// What is limited.
    pub what: &'static str,
    /// The limit.
    pub limit: usize,
    /// When the request may succeed.
    pub retry_after: Duration,
}

/// The use of one principal.
#[derive(Debug)]
pub struct Quota {
    limits: PrincipalLimits,
    usage: Mutex<Usage>,
}

#[derive(Debug)]
struct Usage {
    streams: usize,
    evaluations: usize,
    /// When the streams and the bytes so far are paid for.
    streams_paid: Instant,
    bytes_paid: Instant,
}

/// What a permit stands for.
#[derive(Debug, Clone, Copy)]
enum Held {
    Stream,
    Evaluation,
}

/// An open stream or an evaluation of a principal, until it is dropped.
#[derive(Debug)]
pub struct QuotaPermit {
    quota: Arc<Quota>,
    held: Held,
}

impl Quota {
    fn new(limits: PrincipalLimits) -> Self {
        let now = Instant::now();
        let usage = Usage { streams: 0, evaluations: 0, streams_paid: now, bytes_paid: now };
        Self { limits, usage: Mutex::new(usage) }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// Returns the limit that the stream would exceed.
    pub fn open_stream(self: &Arc<Self>) -> Result<QuotaPermit, QuotaExceeded> {
        let mut usage = self.usage();
        if let Some(limit) = self.limits.streams.filter(|limit| usage.streams >= *limit) {
            let key = "limits.principal_streams";
            return Err(QuotaExceeded { key, what: "open streams", limit, retry_after: RETRY_AFTER });
        }
        if let Some(limit) = self.limits.streams_per_second {
            let wait = spend(&mut usage.streams_paid, 1, limit);
            if !wait.is_zero() {
                // A refused stream costs nothing.
                usage.streams_paid -= cost(1, limit);
                let key = "limits.principal_streams_per_second";
                return Err(QuotaExceeded { key, what: "new streams a second", limit, retry_after: wait });
            }
        }
        usage.streams += 1;
        Ok(QuotaPermit { quota: Arc::clone(self), held: Held::Stream })
    }

    /// Begins an evaluation.
    ///
    /// # Errors
    /// Returns the limit that the evaluation would exceed.
    pub fn begin_evaluation(self: &Arc<Self>) -> Result<QuotaPermit, QuotaExceeded> {
        let mut usage = self.usage();
        if let Some(limit) = self.limits.evaluations.filter(|limit| usage.evaluations >= *limit) {
            let key = "limits.principal_evaluations";
            return Err(QuotaExceeded { key, what: "evaluations at once", limit, retry_after: RETRY_AFTER });
        }
        usage.evaluations += 1;
        Ok(QuotaPermit { quota: Arc::clone(self), held: Held::Evaluation })
    }

    /// Waits until `bytes` of audio fit the limit of bytes a second. Cancel safe; the bytes count in any case.
    pub async fn spend_bytes(&self, bytes: usize) {
        let wait =
            self.limits.bytes_per_second.map(|limit| spend(&mut self.usage().bytes_paid, bytes, limit));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
        }
    }

    fn usage(&self) -> std::sync::MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves the time at which everything is paid for by the cost of `amount`, and returns how long it is ahead of a burst of one second.
fn spend(paid: &mut Instant, amount: usize, per_second: usize) -> Duration {
    let now = Instant::now();
    *paid = (*paid).max(now) + cost(amount, per_second);
    paid.saturating_duration_since(now).saturating_sub(Duration::from_secs(1))
}

fn cost(amount: usize, per_second: usize) -> Duration {
    Duration::from_secs_f64(amount as f64 / per_second as f64)
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut usage = self.quota.usage();
        match self.held {
            Held::Stream => usage.streams -= 1,
            Held::Evaluation => usage.evaluations -= 1,
        }
    }
}

/// Delays the messages of a stream so that its principal stays within its limit of bytes a second.
pub fn paced<T: Send, E: Send>(
    messages: impl Stream<Item = Result<T, E>> + Send,
    quota: Option<Arc<Quota>>,
    bytes: impl Fn(&T) -> usize + Clone + Send,
) -> impl Stream<Item = Result<T, E>> + Send {
    messages.then(move |message| {
        let (quota, bytes) = (quota.clone(), bytes.clone());
        async move {
            if let (Some(quota), Ok(message)) = (&quota, &message) {
                quota.spend_bytes(bytes(message)).await;
            }
            message
        }
    })
}

/// The quotas of all principals by name.
pub(super) struct Quotas {
    limits: PrincipalLimits,
    known: Mutex<HashMap<Arc<str>, Arc<Quota>>>,
}

impl Quotas {
    pub fn new(limits: PrincipalLimits) -> Self {
        Self { limits, known: Mutex::default() }
    }

    /// Returns the quota of a principal.
    pub fn of(&self, name: &Arc<str>) -> Arc<Quota> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = known.get(name) {
            return quota.clone();
        }
        if known.len() >= MAX_IDLE {
            known.retain(|_, quota| Arc::strong_count(quota) > 1);
        }
        let quota = Arc::new(Quota::new(self.limits));
        known.insert(name.clone(), quota.clone());
        quota
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas() -> Quotas {
        Quotas::new(PrincipalLimits {
            streams: Some(3),
            streams_per_second: Some(2),
            bytes_per_second: Some(1000),
            evaluations: Some(1),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_limited_at_once_and_a_second_for_each_principal() {
        let quotas = quotas();
        let (one, other) = (quotas.of(&"one".into()), quotas.of(&"other".into()));
        let mut open = vec![one.open_stream().unwrap(), one.open_stream().unwrap()];
        let refused = one.open_stream().unwrap_err();
        assert_eq!(refused.key, "limits.principal_streams_per_second");
        assert!(refused.retry_after <= Duration::from_millis(500), "{refused:?}");
        assert!(other.open_stream().is_ok(), "another principal");
        tokio::time::sleep(refused.retry_after).await;
        open.push(quotas.of(&"one".into()).open_stream().unwrap());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(one.open_stream().unwrap_err().key, "limits.principal_streams");
        open.pop();
        one.open_stream().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_wait_and_evaluations_are_refused() {
        let quota = quotas().of(&"one".into());
        let began = Instant::now();
        quota.spend_bytes(1000).await;
        assert!(began.elapsed().is_zero(), "a burst of one second");
        quota.spend_bytes(3000).await;
        assert_eq!(began.elapsed().as_secs(), 3);
        let running = quota.begin_evaluation().unwrap();
        assert_eq!(quota.begin_evaluation().unwrap_err().key, "limits.principal_evaluations");
        drop(running);
        quota.begin_evaluation().unwrap();
    }
}
