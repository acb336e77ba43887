//! The disturbances, each at random instants from the seed.
//!
//! Input: a running trial. Output: the same trial, disturbed and whole again.

use serde_json::Value as Json;
use tokio::time::sleep;

use crate::random::Random;
use crate::support::acl;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::trial::{SESSION, Trial};
use crate::verifier::Mode;

/// A kind of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Kill,
    Scale,
    Brokers,
    Zombie,
    Poison,
    Refusal,
    Upgrade,
}

impl Scenario {
    pub const ALL: [Scenario; 7] = [
        Scenario::Kill,
        Scenario::Scale,
        Scenario::Brokers,
        Scenario::Zombie,
        Scenario::Poison,
        Scenario::Refusal,
        Scenario::Upgrade,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::Kill => "kill",
            Scenario::Scale => "scale",
            Scenario::Brokers => "brokers",
            Scenario::Zombie => "zombie",
            Scenario::Poison => "poison",
            Scenario::Refusal => "refusal",
            Scenario::Upgrade => "upgrade",
        }
    }

    /// How often the disturbance is repeated, in the short and in the long form.
    pub fn rounds(self, long: bool) -> u64 {
        let (short, longer) = match self {
            Scenario::Kill => (2, 30),
            Scenario::Scale => (5, 40),
            Scenario::Brokers | Scenario::Zombie => (1, 10),
            Scenario::Refusal | Scenario::Upgrade => (2, 10),
            Scenario::Poison => (1, 5),
        };
        if long { longer } else { short }
    }

    /// Whether the short form has the scenario in a mode, unless it is picked.
    pub fn is_in_short_form(self, mode: Mode) -> bool {
        match self {
            Scenario::Poison => mode == Mode::ExactlyOnce,
            Scenario::Upgrade => mode == Mode::AtLeastOnce,
            _ => true,
        }
    }

    /// Daemons at the start.
    pub fn daemons(self) -> usize {
        match self {
            Scenario::Scale => 3,
            Scenario::Zombie => 2,
            _ => 1,
        }
    }

    /// Disturbs a trial once.
    pub async fn disturb(self, trial: &mut Trial, cluster: &mut Cluster, random: &mut Random) {
        // After a kill, the group waits for the session of the dead member.
        let pause =
            if self == Scenario::Kill { 1_000..SESSION.as_millis() as u64 + 3_000 } else { 300..2_500 };
        sleep(random.millis(pause)).await;
        match self {
            Scenario::Kill => {
                trial.kill(0).await;
                trial.start().await;
            }
            Scenario::Scale => scale(trial, random).await,
            Scenario::Brokers => {
                cluster.control(if random.between(0..2) == 0 { "kill" } else { "stop" });
                sleep(random.millis(0..2_000)).await;
                cluster.control("start");
            }
            Scenario::Zombie => zombie(trial, random).await,
            Scenario::Poison => {
                trial.kill(0).await;
                trial.start().await;
            }
            Scenario::Refusal => refusal(trial, cluster, random).await,
            Scenario::Upgrade => upgrade(trial, cluster, random).await,
        }
    }
}

/// Kills, stops or starts one of about three daemons.
async fn scale(trial: &mut Trial, random: &mut Random) {
    let count = trial.daemons.len() as u64;
    let action = if count < 2 { 2 } else { random.between(0..3) };
    if action < 2 {
        let index = random.between(0..count) as usize;
        if action == 0 { trial.kill(index).await } else { trial.terminate(index).await }
    } else if count < 4 {
        trial.start().await;
    }
}

/// Stops a daemon for longer than its session, so that its partitions are read elsewhere, and lets it go on.
async fn zombie(trial: &mut Trial, random: &mut Random) {
    let index = random.between(0..trial.daemons.len() as u64) as usize;
    let pid = trial.daemons[index].pid();
    signal("-STOP", pid);
    sleep(SESSION + random.millis(500..3_000)).await;
    signal("-CONT", pid);
}

fn signal(name: &str, pid: u32) {
    let status = std::process::Command::new("kill").arg(name).arg(pid.to_string()).status();
    assert!(status.expect("kill is there").success(), "{name} reaches the daemon");
}

/// Lets the output topic refuse records for a while, or the broker, which is every coordinator too, answer nothing.
async fn refusal(trial: &Trial, cluster: &mut Cluster, random: &mut Random) {
    let length = random.millis(1_000..4_500);
    if random.between(0..2) == 0 {
        cluster.control("pause");
        sleep(length).await;
        cluster.control("resume");
    } else {
        acl::deny_writes(&cluster.brokers, &trial.topic("emotions"));
        sleep(length).await;
        acl::allow_writes(&cluster.brokers, &trial.topic("emotions"));
    }
}

/// Ends the daemon in good order or hard, lets some progress records be those of the first version, and starts it again: the records of
/// both versions then lie side by side.
async fn upgrade(trial: &mut Trial, cluster: &Cluster, random: &mut Random) {
    if random.between(0..2) == 0 {
        trial.kill(0).await
    } else {
        trial.terminate(0).await
    }
    let topic = trial.topic("progress");
    let mut newest = std::collections::BTreeMap::new();
    for record in cluster.read(&topic).await {
        newest.insert((record.partition, record.key.clone()), record);
    }
    let chosen = newest.into_values().filter(|_| random.between(0..2) == 0);
    let older: Vec<Record> = chosen.filter_map(|record| first_version(&record)).collect();
    cluster.produce(&topic, &older).await;
    trial.start().await;
}

/// Returns a progress record without what later versions added.
fn first_version(record: &Stored) -> Option<Record> {
    const ENTRY: [&str; 5] = ["offset", "state", "idle_ends", "last_timestamp", "highest_timestamp"];
    const STATE: [&str; 12] = [
        "format",
        "position",
        "sequence",
        "split",
        "first_window",
        "next_windows",
        "span",
        "attributes",
        "model",
        "channels",
        "channel_names",
        "recent",
    ];
    let mut json: Json = serde_json::from_slice(record.value.as_deref()?).expect("progress is JSON");
    json.as_object_mut()?.retain(|key, _| ["group_id", "acknowledged", "next"].contains(&key.as_str()));
    for entry in ["acknowledged", "next"] {
        let Some(entry) = json.get_mut(entry).and_then(Json::as_object_mut) else { continue };
        entry.retain(|key, _| ENTRY.contains(&key.as_str()));
        if let Some(state) = entry.get_mut("state").and_then(Json::as_object_mut) {
            state.retain(|key, _| STATE.contains(&key.as_str()));
        }
    }
    let value = serde_json::to_vec(&json).expect("JSON");
    Some(Record::new(record.key.clone()?, value).partition(record.partition))
}
