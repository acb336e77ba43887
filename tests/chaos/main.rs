//! The chaos suite: daemons and a real broker are disturbed at random instants, and every event must come out as if they had not been.
//!
//! Input: `tests/chaos/run [--long] [--seed N] [--mode MODE] [--scenario NAME]`. Output: a table on stdout, and exit code 1 where a run was not right.
//! `cargo test` builds it and does not run it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod diagnosis;
mod generator;
mod random;
mod scenarios;
mod trial;
mod verifier;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use affectd::model::{Layout, Output};

use generator::Timed;
use random::Random;
use scenarios::Scenario;
use support::kafka::{Cluster, Kind};
use support::model_fixture;
use tokio::signal::unix::{SignalKind, signal};
use trial::Trial;
use verifier::{Events, Figures, Mode};

/// What is run.
struct Arguments {
    long: bool,
    seed: u64,
    modes: Vec<Mode>,
    scenarios: Vec<Scenario>,
    /// Whether a mode or a scenario is picked.
    picked: bool,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Result<Arguments, String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut parsed = Arguments {
            long: false,
            seed: now.as_secs(),
            modes: vec![Mode::AtLeastOnce, Mode::ExactlyOnce],
            scenarios: Scenario::ALL.to_vec(),
            picked: false,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            parsed.picked |= ["--mode", "--scenario"].contains(&argument.as_str());
            let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--long" => parsed.long = true,
                "--seed" => parsed.seed = value()?.parse().map_err(|_| "--seed needs a number".to_owned())?,
                "--mode" => {
                    let name = value()?;
                    parsed.modes.retain(|mode| mode.name() == name);
                }
                "--scenario" => {
                    let name = value()?;
                    parsed.scenarios.retain(|scenario| scenario.name() == name);
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        let is_empty = parsed.modes.is_empty() || parsed.scenarios.is_empty();
        if is_empty { Err("unknown mode or scenario".to_owned()) } else { Ok(parsed) }
    }

    /// The scenarios that are run in a mode. The short form divides some of them between the modes, for the sake of time.
    fn scenarios(&self, mode: Mode) -> impl Iterator<Item = Scenario> {
        let all = self.long || self.picked;
        self.scenarios.iter().copied().filter(move |scenario| all || scenario.is_in_short_form(mode))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) != Some("run") {
        println!("not run: the chaos suite takes minutes; run tests/chaos/run");
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(&arguments[1..]) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\nusage: tests/chaos/run [--long] [--seed N] [--mode MODE] [--scenario NAME]");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let right = runtime.block_on(async {
        tokio::select! {
            right = run(&arguments) => right,
            () = interrupted() => {
                eprintln!("interrupted: the daemons and the broker are ended");
                false
            }
        }
    });
    // A request to a broker that has ended is not waited for.
    runtime.shutdown_background();
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until the suite is to end. What it has started ends with it, because it is dropped.
async fn interrupted() {
    let listen = |kind| signal(kind).expect("the signal can be handled");
    let mut hang_up = listen(SignalKind::hangup());
    let mut terminate = listen(SignalKind::terminate());
    tokio::select! {
        _ = hang_up.recv() => {}
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Runs all scenarios and returns whether all are right.
async fn run(arguments: &Arguments) -> bool {
    let Arguments { long, seed, modes, .. } = arguments;
    println!("chaos: seed {seed}, {} form", if *long { "long" } else { "short" });
    let mut cluster = Cluster::start().await;
    assert_eq!(cluster.kind, Kind::Real, "the suite needs a real broker: Java 17 and Maven");
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    // What the records take, their number for each stream, and how long a silent stream is waited for.
    let (length, chunks, idle) = if *long { (90, 60, 10) } else { (7, 15, 5) };
    let (length, idle) = (Duration::from_secs(length), Duration::from_secs(idle));
    let records = generator::records(*seed, 200, chunks, length);
    let calm = Trial::new(&cluster, folder.path(), "calm", Mode::AtLeastOnce, idle).await;
    let expected = undisturbed(&cluster, calm, &records).await;
    println!("{} records, {} events", records.len(), expected.len());
    let mut right = true;
    for mode in modes.iter().copied() {
        print_head();
        for scenario in arguments.scenarios(mode) {
            let start = Instant::now();
            let trial = Trial::new(&cluster, folder.path(), scenario.name(), mode, idle).await;
            let figures = disturbed(arguments, scenario, (&mut cluster, trial), (&records, &expected)).await;
            right &= report(scenario, mode, &figures, start.elapsed());
        }
    }
    right
}

/// Prints the head of the table of a mode.
fn print_head() {
    println!(
        "\n{:<9} {:<14} {:>9} {:>8} {:>8} {:>8} {:>11} {:>8} {:>8} {:>6}  result",
        "scenario",
        "mode",
        "published",
        "missing",
        "repeated",
        "unequal",
        "out of order",
        "letters",
        "exits",
        "s"
    );
}

/// Returns the events of a run without disturbances.
async fn undisturbed(cluster: &Cluster, mut trial: Trial, records: &[Timed]) -> Events {
    trial.start().await;
    let at_once = records.iter().map(|timed| Timed { at: Duration::ZERO, ..timed.clone() }).collect();
    trial::produce(cluster.brokers.clone(), trial.topic("audio"), at_once).await;
    let figures = trial.finish(cluster, &Events::new(), &BTreeSet::new()).await;
    assert_eq!((figures.lag, figures.duplicates), (0, 0), "an undisturbed run publishes each event once");
    assert!(figures.exits.is_empty() && figures.wrong_letters.is_empty(), "{figures:?}");
    verifier::by_id(verifier::events(&cluster.read(&trial.topic("emotions")).await))
}

/// Writes the records while the scenario goes on, and compares.
async fn disturbed(
    arguments: &Arguments,
    scenario: Scenario,
    (cluster, mut trial): (&mut Cluster, Trial),
    (records, expected): (&[Timed], &Events),
) -> Figures {
    let mut records = records.to_vec();
    if scenario == Scenario::Poison {
        generator::add_poison(arguments.seed, &mut records);
    }
    for _ in 0..scenario.daemons() {
        trial.start().await;
    }
    let producer = trial::produce(cluster.brokers.clone(), trial.topic("audio"), records);
    let producer = tokio::spawn(producer);
    let mut random = Random::new(arguments.seed, &format!("{}{}", scenario.name(), trial.mode().name()));
    for _ in 0..scenario.rounds(arguments.long) {
        scenario.disturb(&mut trial, cluster, &mut random).await;
    }
    let poison = producer.await.unwrap();
    trial.finish(cluster, expected, &poison).await
}

/// Prints a row, and what is wrong; returns whether nothing is.
fn report(scenario: Scenario, mode: Mode, figures: &Figures, took: Duration) -> bool {
    let faults = figures.faults(mode);
    let result = if faults.is_empty() { "ok" } else { "FAILED" };
    println!(
        "{:<9} {:<14} {:>9} {:>8} {:>8} {:>8} {:>11} {:>8} {:>8} {:>6.0}  {result}",
        scenario.name(),
        mode.name(),
        figures.published,
        figures.missing.len(),
        figures.duplicates,
        figures.unequal.len(),
        figures.disordered.len(),
        figures.wrong_letters.len(),
        figures.exits.len(),
        took.as_secs_f64(),
    );
    faults.iter().for_each(|fault| println!("    {fault}"));
    figures.diagnosis.lines().for_each(|line| println!("    {line}"));
    faults.is_empty()
}
