//! A stream at the pace of speech, beside which a test attacks the daemon.
//!
//! Input: a daemon with the tiny model. Output: the latency of each event, from the chunk that completes its window. Holds no assertion about affectd but
//! that the stream goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use affectd::proto::RecognizeRequest;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::call_fixture::{Call, chunk, connect, more, noise, telephone};
use super::daemon::Daemon;

/// One chunk: 100 ms at 8 kHz.
const CHUNK: usize = 800;
const PACE: Duration = Duration::from_millis(100);
/// Chunks in a window of the tiny model, and in its hop.
const WINDOW: u64 = 10;
const HOP: u64 = 5;

/// A stream that is sent at the pace of speech until [`Victim::stop`].
pub struct Victim {
    stop: oneshot::Sender<()>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<Vec<Duration>>,
}

/// The latencies of a victim, in order of size.
#[derive(Debug)]
pub struct Latencies(pub Vec<Duration>);

impl Victim {
    /// Opens the stream on a connection of its own and waits for its first event.
    pub async fn start(daemon: &Daemon) -> Victim {
        let channel = connect(daemon).await;
        let mut call = Call::open(&channel).await;
        let (stop, mut stopped) = oneshot::channel();
        let (begun, first_event) = oneshot::channel();
        let sent: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let (requests, times) = (call.requests(), Arc::clone(&sent));
        let sender = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let id = format!("victim-{}", std::process::id());
            for number in 0.. {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = &mut stopped => return,
                }
                let audio = noise(CHUNK, number + 1);
                let part = if number == 0 { chunk(&id, telephone(), audio) } else { more(audio) };
                times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                if requests.send(RecognizeRequest { chunk: Some(part) }).await.is_err() {
                    return;
                }
            }
        });
        let receiver = tokio::spawn(async move {
            let (mut latencies, mut begun) = (Vec::new(), Some(begun));
            loop {
                let Ok(event) = call.try_event_or_end().await else { panic!("the victim's call failed") };
                let Some(event) = event else { return latencies };
                if event.partial {
                    continue;
                }
                let completing = (WINDOW + HOP * event.window_index - 1) as usize;
                let sent = sent.lock().unwrap_or_else(PoisonError::into_inner)[completing];
                latencies.push(sent.elapsed());
                begun.take().map(|begun| begun.send(()));
            }
        });
        first_event.await.expect("the victim receives events");
        Victim { stop, sender, receiver }
    }

    /// Ends the stream and returns its latencies.
    pub async fn stop(self) -> Latencies {
        let Victim { stop, sender, receiver } = self;
        let _ = stop.send(());
        sender.await.expect("the sender ends");
        let mut latencies =
            super::call_fixture::bounded("the victim's events", receiver).await.expect("no panic");
        latencies.sort();
        Latencies(latencies)
    }
}

impl Latencies {
    /// Panics unless the stream had events and 99 % of them, rounded down, came within `limit`.
    pub fn assert_p99(&self, limit: Duration) {
        let Latencies(sorted) = self;
        assert!(!sorted.is_empty(), "the victim had no event");
        let p99 = self.p99();
        assert!(p99 <= limit, "p99 of {} events is {p99:?}, over {limit:?}: {sorted:?}", sorted.len());
    }

    /// The 99th percentile.
    pub fn p99(&self) -> Duration {
        let Latencies(sorted) = self;
        sorted[(sorted.len() * 99).div_ceil(100).saturating_sub(1)]
    }
}
