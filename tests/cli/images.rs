//! The container images: the file with digests names the same ones as the compose file and the Dockerfile do by tag.

use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Returns `VARIABLE`, `name:tag` and the digest of each line.
fn pinned(file: &str) -> Vec<(&str, &str, &str)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let split = |line| {
        let (variable, image): (&str, &str) = str::split_once(line, '=').unwrap();
        let (tagged, digest) = image.split_once("@sha256:").unwrap();
        (variable, tagged, digest)
    };
    lines.map(split).collect()
}

#[test]
fn images_have_the_same_tags_with_and_without_digests() {
    let (file, compose, dockerfile) =
        (read("deploy/images.env"), read("docker-compose.yml"), read("deploy/Dockerfile"));
    let images = pinned(&file);
    assert_eq!(images.len(), 4, "{images:?}");
    for (variable, tagged, digest) in images {
        assert!(
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{variable}: {digest}"
        );
        assert!(
            compose.contains(&format!("\"${{{variable}:-{tagged}}}\"")),
            "docker-compose.yml: {variable}, {tagged}"
        );
        let default = format!("ARG {variable}=");
        if let Some(line) = dockerfile.lines().find(|line| line.starts_with(&default)) {
            assert_eq!(line, format!("{default}{tagged}"));
        }
    }
    let own = |line: &&str| line.trim_start().starts_with("image: ") || line.starts_with("FROM ");
    for line in compose.lines().chain(dockerfile.lines()).filter(own) {
        let image = line.trim_start().trim_start_matches("image: ").trim_start_matches("FROM ");
        assert!(
            image.starts_with('$') || image.starts_with("\"$") || image == "affectd",
            "without a variable: {line}"
        );
    }
}
