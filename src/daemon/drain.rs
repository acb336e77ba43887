//! The drain: what is under way is finished in data order, within the grace period.
//!
//! In: the running stages. Out: whether all was done, or what was left. Bounded: nothing here waits for ever.

use std::time::{Duration, Instant};

use super::{Daemon, DaemonError};

/// How long connections may stay once no call is left on them: a client may follow the health of the daemon for ever.
const LAST_CONNECTIONS: Duration = Duration::from_secs(2);

impl Daemon {
    /// Stops taking work in, finishes what is under way in data order, and says what was left.
    pub(super) async fn drain(mut self) -> Result<(), DaemonError> {
        let (grace, started) = (self.config.limits.grace_period, Instant::now());
        tracing::info!(?grace, calls = self.calls.len(), "draining");
        self.readiness.drain();
        self.draining.cancel();
        let outcome = tokio::time::timeout(grace, self.finish(started + grace)).await;
        self.http_stop.cancel();
        if tokio::time::timeout(Duration::from_secs(3), &mut self.http).await.is_err() {
            self.http.abort();
        }
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
        self.calls.close();
        self.calls.wait().await;
        // From here on every window has left for its client or for a sink's queue.
        match tokio::time::timeout(LAST_CONNECTIONS, self.grpc.finish()).await {
            Ok(served) => {
                served.transpose()?;
                self.join_stages().await?;
            }
            Err(_) => tracing::info!("cutting connections that have no call left"),
        }
        for sink in &mut self.sinks {
            sink.finish().await.transpose()?;
        }
        self.flush(deadline).await
    }

    async fn join_stages(&mut self) -> Result<(), DaemonError> {
        if let Some((shards, threads)) = self.shards.take() {
            drop(shards);
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

    fn left(&self) -> String {
        let stages = [
            (
                self.reader.as_ref().is_some_and(|reader| !reader.ended),
                "unsettled offsets of Kafka (read again later)",
            ),
            (!self.calls.is_empty(), "open gRPC calls"),
            (!self.reloader.ended, "windows in the batcher"),
        ];
        let left: Vec<&str> = stages.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        left.join(", ")
    }
}
