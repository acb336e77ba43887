//! The table of threats in SECURITY.md names tests that exist.

#[test]
fn every_test_that_the_policy_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let policy = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named = regex::Regex::new("`(tests/[a-z_/]+[.]rs)` `([a-z0-9_]+)`").unwrap();
    let rows = policy.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Threat"));
    let mut count = 0;
    for row in rows {
        let test = named.captures(row).unwrap_or_else(|| panic!("no test in {row}"));
        let source = std::fs::read_to_string(root.join(&test[1])).unwrap_or_else(|_| panic!("{}", &test[1]));
        assert!(source.contains(&format!("fn {}(", &test[2])), "{} has no {}", &test[1], &test[2]);
        count += 1;
    }
    assert!(count >= 15, "{count} rows");
}
