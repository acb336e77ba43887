//! The drain: work in progress is completed in data order, within the grace period.
//!
//! Input: the running stages. Output: success, or what was left when the time ended. Invariant: every wait here is bounded.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Daemon, DaemonError};
use crate::kafka::producer::Flushed;

/// How long connections may stay open once no call is left on them. A client may watch the health of the daemon without end.
const LAST_CONNECTIONS: Duration = Duration::from_secs(2);
/// How long a drain takes at most after a stage has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long brokers that acknowledge nothing are waited for.
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(3);
/// How long the HTTP server may take to end.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

impl Daemon {
    /// Accepts no more work, completes what is in progress in data order, and reports what was left.
    pub(super) async fn drain(mut self) -> Result<(), DaemonError> {
        let (grace, started) = (self.config.limits.grace_period, Instant::now());
        if let Some(inputs) = &self.inputs {
            tracing::info!(?grace, calls = inputs.calls.len(), "draining");
            inputs.readiness.drain();
            inputs.sessions.draining.cancel();
        }
        let outcome = tokio::time::timeout(grace, self.finish(started + grace)).await;
        if let Some(audiosocket) = &mut self.audiosocket {
            audiosocket.finish().await;
        }
        // HTTP reports the drain to its end. Requests that are open then are cut off.
        let _ = tokio::time::timeout(LAST_REQUESTS, self.http.finish()).await;
        match outcome {
            Ok(done) => {
                if done.is_ok() {
                    tracing::info!(after = ?started.elapsed(), "drained");
                }
                done
            }
            Err(_) => Err(DaemonError::OutOfTime { grace, left: self.left() }),
        }
    }

    async fn finish(&mut self, deadline: Instant) -> Result<(), DaemonError> {
        if let Some(reader) = &mut self.reader {
            reader.finish().await.unwrap_or(Ok(()))?;
        }
        if let Some(inputs) = &self.inputs {
            inputs.calls.close();
            inputs.calls.wait().await;
            let calls = inputs.sessions.unread_at_drain.load(Ordering::Relaxed);
            if calls > 0 {
                tracing::warn!(calls, "ended calls whose clients did not read their events");
            }
            inputs.tap.close();
            self.http_sessions.close();
        }
        // From here on every window has left for its client or for the queue of a sink.
        match tokio::time::timeout(LAST_CONNECTIONS, self.grpc.finish()).await {
            Ok(served) => {
                served.transpose()?;
                self.join_stages().await?;
            }
            Err(_) => tracing::info!("closing connections that have no call left"),
        }
        if let Some((webhook, _)) = &mut self.sinks.webhook {
            webhook.finish().await;
        }
        // A sink waits for room in the producer's queue, and there is none while the brokers are away.
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        match tokio::time::timeout(half, self.finish_sinks()).await {
            Ok(finished) => finished?,
            Err(_) => tracing::warn!("events that wait for Kafka are left behind"),
        }
        self.flush(deadline).await
    }

    async fn finish_sinks(&mut self) -> Result<(), DaemonError> {
        for sink in &mut self.sinks.tasks {
            sink.finish().await.transpose()?;
        }
        Ok(())
    }

    /// Lets the drain after a failure take a few seconds at most: windows that the failed stage held never arrive.
    pub(super) fn shorten_drain(&mut self) {
        let limits = &mut self.config.limits;
        limits.grace_period = limits.grace_period.min(AFTER_FAILURE);
    }

    /// Ends the stages behind the inputs. Each ends when the last sender to it is dropped.
    async fn join_stages(&mut self) -> Result<(), DaemonError> {
        self.inputs = None;
        if let Some(threads) = self.shards.take() {
            let joined = tokio::task::spawn_blocking(move || threads.join());
            joined.await.map_err(|_| DaemonError::Stage("shards"))?;
        }
        if let Some(reloader) = self.reloader.finish().await {
            reloader.join().await;
        }
        self.publisher.finish().await;
        Ok(())
    }

    async fn flush(&mut self, deadline: Instant) -> Result<(), DaemonError> {
        let Some(producer) = self.producer.take() else { return Ok(()) };
        let is_away = producer.stalled_for().is_some_and(|stalled| stalled > LAST_ACKNOWLEDGEMENT);
        let remaining = deadline.saturating_duration_since(Instant::now());
        let limit = if is_away { remaining.min(LAST_ACKNOWLEDGEMENT) } else { remaining };
        let flushed = tokio::task::spawn_blocking(move || producer.flush(limit)).await;
        match flushed.map_err(|_| DaemonError::Stage("producer"))? {
            Flushed::All => Ok(()),
            Flushed::Left { of_calls: 0 } => {
                tracing::warn!("Kafka has not acknowledged all events: their input is read again later");
                Ok(())
            }
            Flushed::Left { of_calls } => {
                let left = format!("{of_calls} events of calls that Kafka has not acknowledged");
                Err(DaemonError::OutOfTime { grace: self.config.limits.grace_period, left })
            }
        }
    }

    /// Returns the names of what was not complete.
    fn left(&self) -> String {
        let reading = self.reader.as_ref().is_some_and(|reader| !reader.ended);
        let calling = self.inputs.as_ref().is_some_and(|inputs| !inputs.calls.is_empty());
        let stages = [
            (reading, "unsettled offsets of Kafka (read again later)"),
            (calling, "open gRPC calls"),
            (!self.reloader.ended, "windows in the batcher"),
            (!self.publisher.ended, "events in the publisher"),
        ];
        let left: Vec<&str> = stages.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        left.join(", ")
    }
}
