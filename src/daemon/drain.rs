//! The drain: work in progress is completed in data order, within the grace period.
//!
//! Input: the running stages. Output: success, or what was left when the time ended. Invariant: every wait here is bounded.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Daemon, DaemonError};

/// How long connections may stay open once no call is left on them. A client may watch the health of the daemon without end.
const LAST_CONNECTIONS: Duration = Duration::from_secs(2);
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
        // HTTP reports the drain to its end. Requests that are open then are cut off.
        let _ = tokio::time::timeout(LAST_REQUESTS, self.http.finish()).await;
        match outcome {
            Ok(done) => {
                tracing::info!(after = ?started.elapsed(), "drained");
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
        for sink in &mut self.sinks.tasks {
            sink.finish().await.transpose()?;
        }
        self.flush(deadline).await
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
        self.publisher.finish().await.transpose()?;
        Ok(())
    }

    async fn flush(&mut self, deadline: Instant) -> Result<(), DaemonError> {
        let Some(producer) = self.producer.take() else { return Ok(()) };
        let limit = deadline.saturating_duration_since(Instant::now());
        let flushed = tokio::task::spawn_blocking(move || producer.flush(limit)).await;
        if flushed.map_err(|_| DaemonError::Stage("producer"))? {
            return Ok(());
        }
        let left = "events that Kafka has not acknowledged".to_owned();
        Err(DaemonError::OutOfTime { grace: self.config.limits.grace_period, left })
    }

    /// Returns the names of what was not complete.
    fn left(&self) -> String {
        let reading = self.reader.as_ref().is_some_and(|reader| !reader.ended);
        let calling = self.inputs.as_ref().is_some_and(|inputs| !inputs.calls.is_empty());
        let stages = [
            (reading, "unsettled offsets of Kafka (read again later)"),
            (calling, "open gRPC calls"),
            (!self.reloader.ended, "windows in the batcher"),
        ];
        let left: Vec<&str> = stages.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        left.join(", ")
    }
}
