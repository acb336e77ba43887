//! Compares the documentation with the code and with itself: tables of commands, configuration keys and metrics; links; sizes.
//!
//! Input: README.md, CONTRIBUTING.md, CHANGELOG.md and every Markdown file in `docs/` and `deploy/`. A row that is missing, left over or worded
//! differently fails, and the failure shows the rows as they must be.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use affectd::cli::Cli;
use affectd::telemetry::metrics::{METRICS, Metric, MetricKind};
use clap::CommandFactory;

/// The largest README: a newcomer reads it in two minutes.
const README_BYTES: usize = 8_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Markdown file that readers of the repository see, by its path from the root.
fn documents() -> Vec<String> {
    let mut found: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned).into();
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            // What `npm ci` installs for the Node example is no part of the repository.
            if path.ends_with("node_modules") {
                continue;
            }
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The rows of the first table after `marker`, without its head.
fn rows(path: &str, marker: &str) -> Vec<String> {
    let text = text(path);
    let start = text.find(marker).unwrap_or_else(|| panic!("{path} has no {marker:?}"));
    let table = text[start..].lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    table.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[track_caller]
fn assert_rows(path: &str, found: &[String], expected: &[String]) {
    assert!(found == expected, "the table in {path} must be:\n\n{}\n", expected.join("\n"));
}

fn command_rows(command: &clap::Command, prefix: &str, rows: &mut Vec<String>) {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{prefix} {}", command.get_name());
        if command.has_subcommands() {
            command_rows(command, &name, rows);
        } else {
            let about = command.get_about().expect("every command has a description");
            rows.push(format!("| `{name}` | {about} |"));
        }
    }
}

#[test]
fn the_table_of_commands_lists_every_command() {
    const PATH: &str = "docs/operations.md";
    let mut expected = Vec::new();
    command_rows(&Cli::command(), "affectd", &mut expected);
    let found = rows(PATH, "\n## Commands\n");
    assert_rows(PATH, &found, &expected);
}

#[test]
fn the_table_of_metrics_lists_every_metric_with_its_kind_and_labels() {
    const PATH: &str = "docs/metrics.md";
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
    let found = rows(PATH, "\n## Metrics\n");
    assert_rows(PATH, &found, &METRICS.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_readme_is_short() {
    let bytes = text("README.md").len();
    assert!(bytes <= README_BYTES, "README.md has {bytes} bytes, allowed are {README_BYTES}");
}

#[test]
fn the_readme_links_every_page_of_the_documentation() {
    let linked: BTreeSet<String> =
        links(&prose(&text("README.md"))).into_iter().map(|link| link.file).collect();
    let pages = documents().into_iter().filter(|path| path.starts_with("docs/"));
    let missing: Vec<String> = pages.filter(|page| !linked.contains(page)).collect();
    assert!(missing.is_empty(), "README.md does not link {missing:?}");
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for document in documents() {
        for link in links(&prose(&text(&document))) {
            checked += 1;
            let folder = Path::new(&document).parent().unwrap();
            let target =
                if link.file.is_empty() { PathBuf::from(&document) } else { folder.join(&link.file) };
            let path = root().join(&target);
            let found = path.exists()
                && link.anchor.as_ref().is_none_or(|anchor| {
                    std::fs::read_to_string(&path).is_ok_and(|text| anchors(&prose(&text)).contains(anchor))
                });
            if !found {
                broken.push(format!("{document}: {}", link.written));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(checked > 20, "only {checked} links were found");
}

#[test]
fn the_architecture_names_functions_and_types_that_exist() {
    const PATH: &str = "docs/architecture.md";
    let text = text(PATH);
    // A reference is a link to a source file with the item's name behind it: [file](../src/file.rs) `Type::function`.
    let references = text.split("](../").skip(1).filter_map(|rest| {
        let (file, rest) = rest.split_once(") `")?;
        let (item, _) = rest.split_once('`')?;
        (file.ends_with(".rs") && !file.contains(')')).then_some((file, item))
    });
    let (mut missing, mut checked) = (Vec::new(), 0);
    for (file, item) in references {
        checked += 1;
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let name = item.rsplit("::").next().unwrap();
        let kinds = ["fn", "struct", "enum", "trait", "mod", "const"];
        let names =
            |after: &str| after.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_part_of_name));
        if !kinds.iter().any(|kind| source.split(&format!("{kind} ")).skip(1).any(names)) {
            missing.push(format!("{file}: {item}"));
        }
    }
    assert!(missing.is_empty(), "{PATH} names what is not there:\n{}", missing.join("\n"));
    assert!(checked > 20, "only {checked} references were found");
}

fn is_part_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A relative link: its text, the file (empty for the same document), and the anchor.
struct Link {
    written: String,
    file: String,
    anchor: Option<String>,
}

/// The text without fenced code blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The relative links of a document: `[text](target)`, where the text may be broken over lines.
fn links(prose: &str) -> Vec<Link> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let relative = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    relative
        .map(|target| {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, at)| (file, Some(at)));
            Link { written: target.to_owned(), file: file.to_owned(), anchor: anchor.map(str::to_owned) }
        })
        .collect()
}

/// The anchors of a document's headings, formed as GitHub forms them: lowercase, spaces as hyphens, punctuation removed, and a number
/// appended to a heading that occurs again.
fn anchors(prose: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let before = seen.entry(anchor.clone()).or_default();
            *before += 1;
            if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
        })
        .collect()
}
