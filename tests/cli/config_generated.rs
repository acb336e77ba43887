//! The checked-in files that are generated from the option structs.

use std::path::Path;

use affectd::config;

const BEGIN: &str = "<!-- begin generated: configuration -->\n";
const END: &str = "<!-- end generated: configuration -->";

/// Compares a file with what it must be. With `UPDATE=1` in the environment it is written instead.
#[track_caller]
fn assert_generated(path: &str, expected: impl FnOnce(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = std::fs::read_to_string(&file).unwrap();
    let expected = expected(&found);
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(&file, expected).unwrap();
    } else {
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert!(
            found == expected,
            "{path} differs from the option structs, first in {differs:?} (found, expected): \
             run `UPDATE=1 cargo test --test cli generated`"
        );
    }
}

#[test]
fn the_example_file_is_generated() {
    assert_generated("deploy/config.toml", |_| config::template());
}

#[test]
fn the_table_of_the_documentation_is_generated() {
    assert_generated("docs/configuration.md", |found| {
        let (before, rest) = found.split_once(BEGIN).expect("the marker of the beginning is there");
        let (_, after) = rest.split_once(END).expect("the marker of the end is there");
        format!("{before}{BEGIN}{}{END}{after}", config::table())
    });
}
