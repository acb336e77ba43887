//! The README's tables against the code that they describe: commands, configuration keys, metrics.
//!
//! A row that is missing, left over or worded differently fails, and the failure shows the rows as they must be.

use affectd::cli::Cli;
use affectd::config::{Key, keys};
use affectd::metrics::{METRICS, Metric, MetricKind};
use clap::CommandFactory;

const README: &str = include_str!("../README.md");

/// The rows of the table under a heading, without its head.
fn rows(heading: &str) -> Vec<&'static str> {
    let start = README.find(&format!("\n## {heading}\n")).expect("the README has the section");
    let section = README[start..].lines().skip(2).take_while(|line| !line.starts_with("## "));
    section
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

#[track_caller]
fn assert_rows(heading: &str, expected: &[String]) {
    let found = rows(heading);
    assert!(found == *expected, "the table under {heading:?} must be:\n\n{}\n", expected.join("\n"));
}

fn command_rows(command: &clap::Command, prefix: &str, rows: &mut Vec<String>) {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{prefix} {}", command.get_name());
        if command.has_subcommands() {
            command_rows(command, &name, rows);
        } else {
            let about = command.get_about().expect("every command says what it does");
            rows.push(format!("| `{name}` | {about} |"));
        }
    }
}

#[test]
fn every_command_stands_in_the_table() {
    let mut expected = Vec::new();
    command_rows(&Cli::command(), "affectd", &mut expected);
    if cfg!(feature = "train") {
        assert_rows("Commands", &expected);
    } else {
        // Without the trainer its row is the one that this build cannot know.
        let known: Vec<_> =
            rows("Commands").into_iter().filter(|row| !row.starts_with("| `affectd train`")).collect();
        assert!(
            known == expected,
            "the table of commands must be, beside train:\n\n{}\n",
            expected.join("\n")
        );
    }
}

#[test]
fn every_key_stands_in_the_table_with_its_default() {
    let row = |key: &Key| {
        let default = key.default.as_ref().map_or("not set".to_owned(), |default| format!("`{default}`"));
        format!("| `{}` | {default} | {} |", key.name, key.help)
    };
    assert_rows("Configuration", &keys().iter().map(row).collect::<Vec<_>>());
}

#[test]
fn every_metric_stands_in_the_table_with_its_kind_and_labels() {
    let row = |metric: &Metric| {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|(label, _)| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
        format!("| `{}` | {kind} | {labels} | {} |", metric.name, metric.help)
    };
    assert_rows("Metrics", &METRICS.iter().map(row).collect::<Vec<_>>());
}
