//! One run: its topics, its daemons, and the producer that writes while they are disturbed.
//!
//! Input: a broker, records and a mode. Output: figures. Everything that a trial starts ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::producer::FutureProducer;
use tokio::time::{Instant, sleep, sleep_until};

use crate::diagnosis;
use crate::generator::Timed;
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::Cluster;
use crate::verifier::{Events, Figures, Mode, events};

/// Partitions of the input and the output.
pub const PARTITIONS: i32 = 8;
/// How long a daemon may be silent to its group.
pub const SESSION: Duration = Duration::from_secs(3);
/// How long the last records may take after the disturbances.
const PATIENCE: Duration = Duration::from_secs(150);

/// The committed offset and the end of each partition of the input.
pub struct Lag(BTreeMap<i32, (Option<i64>, i64)>);

impl Lag {
    /// Records behind the committed offsets.
    pub fn records(&self) -> i64 {
        self.0.values().map(|(committed, end)| end - committed.unwrap_or(0)).sum()
    }

    /// The partitions with such records.
    pub fn partitions(&self) -> impl Iterator<Item = (&i32, &(Option<i64>, i64))> {
        self.0.iter().filter(|(_, (committed, end))| committed.unwrap_or(0) != *end)
    }
}

/// One run.
pub struct Trial {
    name: String,
    mode: Mode,
    config: PathBuf,
    pub options: Options,
    pub daemons: Vec<Daemon>,
    exits: Vec<String>,
}

impl Trial {
    /// Creates the topics of a run whose streams end when they are silent for `idle`.
    pub async fn new(cluster: &Cluster, folder: &Path, name: &str, mode: Mode, idle: Duration) -> Trial {
        let name = format!("{name}-{}", mode.name());
        for topic in ["audio", "emotions"] {
            cluster.create_topic(&format!("{name}.{topic}"), PARTITIONS, &[]).await;
        }
        // What is left out of a dead letter that is too large is a matter of other tests: this topic takes all.
        cluster.create_topic(&format!("{name}.dead-letters"), 1, &[("max.message.bytes", "8388608")]).await;
        cluster.create_topic(&format!("{name}.progress"), PARTITIONS, &[("cleanup.policy", "compact")]).await;
        let config = folder.join(format!("{name}.toml"));
        let model = folder.join("tiny.onnx");
        let delivery = if mode == Mode::ExactlyOnce { "delivery = \"exactly-once\"\n" } else { "" };
        let text = format!(
            "[model]\npath = {model:?}\n[window]\nmin_length = \"500ms\"\n[audio]\nidle_timeout = \"{idle:?}\"\n\
             [publish]\nsmoothing = \"exponential\"\nsmoothing_windows = 4\n[limits]\ngrace_period = \"15s\"\n\
             [kafka]\nbrokers = {brokers:?}\ngroup_id = {name:?}\n{delivery}input_topic = \"{name}.audio\"\n\
             output_topic = \"{name}.emotions\"\ndead_letter_topic = \"{name}.dead-letters\"\n\
             progress_topic = \"{name}.progress\"\ncommit_interval = \"200ms\"\n\
             [kafka.properties]\n\"session.timeout.ms\" = \"{session}\"\n\"heartbeat.interval.ms\" = \"500\"\n",
            brokers = cluster.brokers,
            session = SESSION.as_millis(),
        );
        std::fs::write(&config, text).expect("the folder is there");
        let options = Options::new().config(&config);
        Trial { name, mode, config, options, daemons: Vec::new(), exits: Vec::new() }
    }

    /// The name of one of the run's topics.
    pub fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    /// Starts one more daemon; does not wait until it is ready.
    pub async fn start(&mut self) {
        let daemon = self.options.start_unready().await;
        self.daemons.push(daemon);
    }

    /// Kills a daemon at once.
    pub async fn kill(&mut self, index: usize) {
        let mut daemon = self.daemons.remove(index);
        self.note_exit(&mut daemon, "was not killed yet");
        daemon.kill().await;
    }

    /// Ends a daemon in good order.
    pub async fn terminate(&mut self, index: usize) {
        let mut daemon = self.daemons.remove(index);
        if self.note_exit(&mut daemon, "was not terminated yet") {
            return;
        }
        daemon.terminate();
        let status = daemon.ended().await;
        if !status.success() {
            self.exits.push(format!("{status} after SIGTERM: {}", last_line(&daemon)));
        }
    }

    /// Notes a daemon that has ended by itself; returns whether it has.
    fn note_exit(&mut self, daemon: &mut Daemon, when: &str) -> bool {
        let Some(status) = daemon.has_ended() else { return false };
        self.exits.push(format!("{status} although it {when}: {}", last_line(daemon)));
        true
    }

    /// Waits until everything is committed, ends all daemons, and compares.
    pub async fn finish(
        &mut self,
        cluster: &Cluster,
        expected: &Events,
        poison: &BTreeSet<(i32, i64)>,
    ) -> Figures {
        if self.daemons.is_empty() {
            self.start().await;
        }
        let lag = self.wait_for_commits(cluster).await;
        let diagnosis = match lag.records() {
            0 => String::new(),
            _ => diagnosis::of_lag(&lag, &self.config, &self.daemons).await,
        };
        while !self.daemons.is_empty() {
            self.terminate(0).await;
        }
        let published = events(&cluster.read(&self.topic("emotions")).await);
        let mut figures = Figures::of(expected, published);
        figures.letters(&cluster.read(&self.topic("dead-letters")).await, poison);
        (figures.lag, figures.exits) = (lag.records(), std::mem::take(&mut self.exits));
        figures.diagnosis = diagnosis;
        figures
    }

    /// Waits until everything is committed, and returns what is not after [`PATIENCE`]. Daemons that end meanwhile are started again.
    async fn wait_for_commits(&mut self, cluster: &Cluster) -> Lag {
        let deadline = Instant::now() + PATIENCE;
        let mut lag = self.lag(cluster).await;
        while lag.records() != 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
            for index in (0..self.daemons.len()).rev() {
                if self.daemons[index].has_ended().is_some() {
                    let mut daemon = self.daemons.remove(index);
                    self.note_exit(&mut daemon, "should go on");
                    self.start().await;
                }
            }
            lag = self.lag(cluster).await;
        }
        lag
    }

    /// The committed offsets and the ends.
    async fn lag(&self, cluster: &Cluster) -> Lag {
        let committed = cluster.committed(&self.name, &self.topic("audio")).await;
        let ends = cluster.ends(&self.topic("audio")).await;
        let of = |(partition, end)| (partition, (committed.get(&partition).copied().flatten(), end));
        Lag(ends.into_iter().map(of).collect())
    }

    /// The delivery mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

fn last_line(daemon: &Daemon) -> String {
    daemon.log().lines().last().unwrap_or_default().to_owned()
}

/// Writes records at their instants and returns where the poison lies. Brokers that are away are waited for.
pub async fn produce(brokers: String, topic: String, records: Vec<Timed>) -> BTreeSet<(i32, i64)> {
    let mut settings = rdkafka::ClientConfig::new();
    settings.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "5");
    settings.set("message.timeout.ms", "0").set("message.max.bytes", "4194304").set("log_level", "0");
    // Soon after an outage, so that no stream is idle for the daemons while its records wait here.
    settings.set("reconnect.backoff.max.ms", "500");
    let producer: FutureProducer = settings.create().expect("a producer");
    let (start, mut sent) = (Instant::now(), Vec::new());
    for timed in &records {
        sleep_until(start + timed.at).await;
        let delivery = producer.send_result(timed.record.to_send(&topic));
        sent.push((
            timed.poison,
            delivery.map_err(|(error, _)| error).expect("room in the producer's queue"),
        ));
    }
    let mut poisoned = BTreeSet::new();
    for (poison, delivery) in sent {
        let place = delivery.await.expect("the producer lives").map_err(|(error, _)| error);
        let place = place.expect("an acknowledgement");
        if poison {
            poisoned.insert((place.partition, place.offset));
        }
    }
    poisoned
}
