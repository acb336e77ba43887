//! The layers of `src/`: a module uses only modules below it, in the order in which `src/lib.rs` lists them.
//!
//! Every source file is read as text, without comments and literals, and its `crate::…` and `super::…` paths are resolved. The test fails on a path
//! to a module that is listed later, on a top-level module that the list lacks, and on types of a transport or a broker outside the modules that
//! own them. Where every path leads down the list, no circle between files of different modules can exist.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose types stay inside a few modules, with those modules.
const CONFINED: &[(&str, &[&str])] = &[
    ("tonic", &["transport", "client", "perf", "daemon", "proto"]),
    ("axum", &["transport", "daemon"]),
    ("rustls", &["security", "transport", "webhook"]),
    ("tokio_rustls", &["transport", "webhook"]),
    ("jsonwebtoken", &["security"]),
    ("rdkafka", &["kafka", "client", "perf", "daemon"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The module names of lines such as `//! - `audio`: …`, in their order.
fn listed(text: &str, before: &str) -> Vec<String> {
    let names =
        text.lines().filter_map(|line| line.strip_prefix(before)?.split('`').next().map(str::to_owned));
    names.collect()
}

fn layers() -> Vec<String> {
    listed(&fs::read_to_string(root().join("src/lib.rs")).unwrap(), "//! - `")
}

/// All source files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// One source file: the module that it is, and its code.
struct Source {
    path: String,
    /// Such as `["kafka", "reader"]`; empty for `lib.rs` and `main.rs`.
    module: Vec<String>,
    code: String,
}

impl Source {
    fn read(path: &Path, src: &Path) -> Self {
        let relative = path.strip_prefix(src).unwrap().with_extension("");
        let mut module: Vec<_> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            module.pop();
        }
        let code = without_comments_and_literals(&fs::read_to_string(path).unwrap());
        Self { path: path.strip_prefix(root()).unwrap().display().to_string(), module, code }
    }

    fn all() -> Vec<Self> {
        let src = root().join("src");
        let mut paths = Vec::new();
        sources(&src, &mut paths);
        paths.iter().map(|path| Self::read(path, &src)).collect()
    }

    fn top(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// The top-level modules that the file's paths lead to, its own one left out.
    fn uses(&self, layers: &[String]) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        let names = |name: &String| layers.contains(name) && Some(name.as_str()) != self.top();
        for (supers, first) in first_segments(&self.code) {
            // `super` beyond the file's own depth reaches the root of the crate; inside an inline module it may reach less far, and then the
            // name is not that of a top-level module.
            if supers == 0 || supers >= self.module.len() {
                used.extend(first.into_iter().filter(names));
            }
        }
        used
    }
}

/// Replaces comments and the content of string and character literals with spaces.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r#\"") => 3 + rest[3..].find("\"#").unwrap() + 2,
            '"' => end_of_string(rest),
            '\'' if rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'') => {
                1 + rest[1..].char_indices().skip(1).find(|(_, it)| *it == '\'').unwrap().0 + 1
            }
            _ => 0,
        };
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Behind the closing quote of the string that `text` begins with.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// For each path that begins with `crate` or `super`: how many `super` it begins with (0 for `crate`), and its next segments, of which a group has
/// many.
fn first_segments(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some((at, word)) =
        ["crate", "super"].iter().filter_map(|word| Some((rest.find(&format!("{word}::"))?, *word))).min()
    {
        let whole = !rest[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_' || it == ':');
        rest = &rest[at + word.len() + 2..];
        if !whole {
            continue;
        }
        let mut supers = usize::from(word == "super");
        while let Some(behind) = rest.strip_prefix("super::") {
            supers += 1;
            rest = behind;
        }
        found.push((supers, segments(rest)));
    }
    found
}

/// The first segment of a path, or those of a group.
fn segments(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut start, mut all) = (0_usize, 0, Vec::new());
    for (at, next) in group.char_indices() {
        match next {
            '{' => depth += 1,
            '}' if depth == 0 => {
                all.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    all
}

#[test]
fn a_module_uses_only_modules_below_it() {
    let layers = layers();
    let height = |name: &str| layers.iter().position(|layer| layer == name);
    let mut upward = Vec::new();
    for source in Source::all() {
        let Some(own) = source.top().and_then(height) else { continue };
        for used in source.uses(&layers).iter().filter(|used| height(used) > Some(own)) {
            upward.push(format!("{}: {} uses {used}", source.path, layers[own]));
        }
    }
    assert!(upward.is_empty(), "imports that lead upward in the list of src/lib.rs:\n{}", upward.join("\n"));
}

#[test]
fn the_list_of_layers_is_complete_and_the_same_in_the_documentation() {
    let layers = layers();
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared = lib.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let declared: BTreeSet<_> = declared.map(|name| name.trim_end_matches(';').to_owned()).collect();
    assert_eq!(
        layers.iter().cloned().collect::<BTreeSet<_>>(),
        declared,
        "the list and the modules of src/lib.rs"
    );
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let table = &page[page.find("| Module | Purpose |").unwrap()..];
    let table = &table[..table.find("\n\n").unwrap()];
    assert_eq!(listed(table, "| `"), layers, "the list of src/lib.rs and the table of docs/architecture.md");
}

#[test]
fn types_of_a_transport_or_a_broker_stay_in_their_modules() {
    let mut outside = Vec::new();
    for source in Source::all() {
        let Some(top) = source.top() else { continue };
        for (name, allowed) in CONFINED {
            let path = format!("{name}::");
            let used = source.code.match_indices(&path).any(|(at, _)| {
                !source.code[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_' || it == ':')
            });
            if used && !allowed.contains(&top) {
                outside.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert!(outside.is_empty(), "types outside the modules that own them:\n{}", outside.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_groups_parents_and_no_comments() {
    let code = without_comments_and_literals(
        "use crate::{audio::{self, Options}, kafka}; // crate::cli\nlet a = \"crate::daemon\"; super::super::config::load(); 'x'; crate::batch::start()",
    );
    let found: Vec<_> = first_segments(&code).into_iter().flat_map(|(_, names)| names).collect();
    assert_eq!(found, ["audio", "kafka", "config", "batch"]);
}
