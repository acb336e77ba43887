//! The alerts that wait for the webhook, and when each is tried.
//!
//! Input: alerts. Output: requests, and dead letters of alerts that the receiver did not accept. Invariants: at most 1,000 alerts are queued, and further
//! ones become dead letters at once; an alert is tried at most 8 times within 10 minutes; what is sent of one alert is sent in order.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::{Message, sign};
use super::options::{Options, SigningSecret};
use super::target::{PostError, Target};
use crate::proto::Alert;
use crate::serving::{EventSender, SinkEvent, SinkMessage};
use crate::telemetry::metrics;

/// Alerts that may be queued, those that are tried again included.
pub(super) const MOST_QUEUED: usize = 1_000;
/// Pauses before the second to the eighth try: 10 minutes together.
pub(super) const PAUSES: [u64; 7] = [5, 10, 20, 40, 75, 150, 300];
/// Requests that may be open at once.
const MOST_REQUESTS: usize = 8;
/// How long the requests may take that are sent when the daemon stops.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// Where alerts go that the receiver did not accept.
#[derive(Debug, Clone)]
struct DeadLetters(Option<EventSender>);

impl DeadLetters {
    fn push(&self, alert: Arc<Alert>, reason: String) {
        metrics::webhook_alert("failed");
        let Alert { alert_id, rule, state, .. } = alert.as_ref();
        tracing::warn!(alert_id, rule, state, "the webhook has not accepted an alert: {reason}");
        let Some(sink) = &self.0 else { return };
        metrics::dead_letter("webhook");
        let event = SinkEvent::unsettled(SinkMessage::UndeliveredAlert(alert, reason));
        if sink.try_send(event).is_err() {
            tracing::error!("the dead letter of an alert is lost: Kafka takes none");
        }
    }
}

/// The sending side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    queue: mpsc::Sender<Queued>,
    pub(super) room: Arc<Semaphore>,
    dead_letters: DeadLetters,
}

impl WebhookSender {
    /// Queues an alert. Never waits: where the queue is full, the alert becomes a dead letter.
    pub fn send(&self, alert: Arc<Alert>) {
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            return self.dead_letters.push(alert, format!("{MOST_QUEUED} alerts are queued already"));
        };
        let message = Message::new(&alert, SystemTime::now());
        let queued = Queued { alert, message, tries: 0, due: Instant::now(), _room: room };
        if let Err(back) = self.queue.try_send(queued) {
            let (mpsc::error::TrySendError::Full(queued) | mpsc::error::TrySendError::Closed(queued)) = back;
            self.dead_letters.push(queued.alert, "the webhook has ended".to_owned());
        }
    }
}

/// An alert that waits.
#[derive(Debug)]
struct Queued {
    alert: Arc<Alert>,
    message: Message,
    /// Requests that failed.
    tries: usize,
    due: Instant,
    _room: OwnedSemaphorePermit,
}

/// The task of the webhook.
#[derive(Debug)]
pub struct Webhook {
    target: Target,
    secret: Arc<[u8]>,
    timeout: Duration,
    incoming: mpsc::Receiver<Queued>,
    waiting: Vec<Queued>,
    /// The alerts whose requests are open.
    open: Vec<Arc<Alert>>,
    requests: JoinSet<(Queued, Result<(), PostError>)>,
    dead_letters: DeadLetters,
}

impl Webhook {
    /// Returns the webhook and its sending side; `None` where it is off. Alerts that the receiver does not accept go to `dead_letters`.
    #[must_use]
    pub fn new(options: &Options, dead_letters: Option<EventSender>) -> Option<(Self, WebhookSender)> {
        let target = Target::parse(options.url.as_deref()?).ok()?.with_certificates();
        let secret = SigningSecret::decode(options.secret.as_deref()?)?.into();
        let (queue, incoming) = mpsc::channel(MOST_QUEUED);
        let dead_letters = DeadLetters(dead_letters);
        let room = Arc::new(Semaphore::new(MOST_QUEUED));
        let sender = WebhookSender { queue, room, dead_letters: dead_letters.clone() };
        let (waiting, open, requests) = (Vec::new(), Vec::new(), JoinSet::new());
        let timeout = options.timeout;
        Some((Self { target, secret, timeout, incoming, waiting, open, requests, dead_letters }, sender))
    }

    /// Sends alerts until `stop`; then each that waits is tried once more, and what is left becomes dead letters.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.start_due(Instant::now());
            let next = self.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.requests.join_next() => self.complete(done.ok()),
                Some(queued) = self.incoming.recv() => self.waiting.push(queued),
                () = at(next) => {}
            }
        }
        self.drain().await;
    }

    async fn drain(&mut self) {
        self.incoming.close();
        while let Some(queued) = self.incoming.recv().await {
            self.waiting.push(queued);
        }
        let deadline = Instant::now() + LAST_REQUESTS;
        for queued in &mut self.waiting {
            (queued.due, queued.tries) = (Instant::now(), PAUSES.len());
        }
        loop {
            self.start_due(Instant::now());
            let done = tokio::select! {
                biased;
                done = self.requests.join_next() => done,
                () = tokio::time::sleep_until(deadline) => break,
            };
            let Some(done) = done else { break };
            if let Ok((queued, outcome)) = done {
                self.close(&queued);
                match outcome {
                    Ok(()) => metrics::webhook_alert("delivered"),
                    Err(error) => self.dead_letters.push(queued.alert, format!("{error}; the daemon stops")),
                }
            }
        }
        self.requests.abort_all();
        let waiting = self.waiting.drain(..).map(|queued| queued.alert);
        for alert in self.open.drain(..).chain(waiting) {
            self.dead_letters.push(alert, "the daemon stops".to_owned());
        }
    }

    /// Notes that the request of an alert is complete.
    fn close(&mut self, queued: &Queued) {
        self.open.retain(|open| !Arc::ptr_eq(open, &queued.alert));
    }

    /// Returns whether an alert may be sent: none of its earlier changes is waiting or on its way.
    fn is_first(&self, index: usize) -> bool {
        let id = &self.waiting[index].alert.alert_id;
        let is_same = |alert: &Alert| alert.alert_id == *id;
        !self.open.iter().any(|alert| is_same(alert))
            && !self.waiting[..index].iter().any(|earlier| is_same(&earlier.alert))
    }

    /// Starts the requests that are due.
    fn start_due(&mut self, now: Instant) {
        let mut index = 0;
        while self.requests.len() < MOST_REQUESTS && index < self.waiting.len() {
            if self.waiting[index].due > now || !self.is_first(index) {
                index += 1;
                continue;
            }
            let queued = self.waiting.remove(index);
            self.open.push(queued.alert.clone());
            let (target, secret, timeout) = (self.target.clone(), self.secret.clone(), self.timeout);
            self.requests.spawn(async move {
                let request = post(&target, &secret, &queued.message);
                let outcome = tokio::time::timeout(timeout, request).await;
                let outcome = outcome.unwrap_or(Err(PostError::Timeout));
                (queued, outcome)
            });
        }
    }

    /// Returns when a request is due that may be sent; `None` while none may.
    fn next_due(&self) -> Option<Instant> {
        if self.requests.len() >= MOST_REQUESTS {
            return None;
        }
        (0..self.waiting.len())
            .filter(|index| self.is_first(*index))
            .map(|index| self.waiting[index].due)
            .min()
    }

    fn complete(&mut self, done: Option<(Queued, Result<(), PostError>)>) {
        let Some((mut queued, outcome)) = done else { return };
        self.close(&queued);
        let Err(error) = outcome else { return metrics::webhook_alert("delivered") };
        let pause = PAUSES.get(queued.tries).filter(|_| !error.is_final());
        queued.tries += 1;
        match pause {
            Some(seconds) => {
                metrics::webhook_alert("retried");
                tracing::debug!(tries = queued.tries, "an alert is sent again in {seconds} s: {error}");
                queued.due = Instant::now() + Duration::from_secs(*seconds);
                // In front of later changes of the same alert.
                self.waiting.insert(0, queued);
            }
            None => {
                let reason = format!("{error}, after {} tries", queued.tries);
                self.dead_letters.push(queued.alert, reason);
            }
        }
    }
}

/// Waits for a time; for ever where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Sends a message with a signature of now.
async fn post(target: &Target, secret: &[u8], message: &Message) -> Result<(), PostError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (timestamp, signature) = (now.to_string(), sign(secret, message, now));
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", concat!("affectd/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", message.id.as_str()),
        ("webhook-timestamp", timestamp.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    target.post(&headers, message.body.clone()).await
}
