//! `affectd rules`: contradictory keys, and the alerts of recordings.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use affectd::audio::{decode_file, encode};
use affectd::proto::{Alert, EmotionEvent, Encoding};

use crate::support::call_sounds::{RATE, sounds};
use crate::support::decoder_entries::file_fixture;

fn affectd(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.arg("--config").arg(config).args(arguments).output().unwrap()
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("affectd.toml");
    std::fs::write(&path, text).unwrap();
    path
}

const RULES: &str = r#"
[vad]
mode = "gate"
[[alert]]
name = "angry"
priority = "high"
kind = "emotion"
emotion = "anger"
above = 0.5
for = "3s"
[[alert]]
name = "mostly sad"
kind = "share"
emotion = "sadness"
above = 0.6
within = "10s"
[[alert]]
name = "low"
kind = "valence"
below = -1.5
within = "10s"
[[alert]]
name = "worse"
kind = "trend"
below = -2
within = "4s"
"#;

#[test]
fn the_rules_are_printed_as_sentences() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), RULES);
    let output = affectd(&config, &["rules", "check"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(output.status.success() && lines.len() == 4, "{stdout}");
    assert_eq!(lines[0], "angry (high): any channel: probability of anger above 0.5 for 3s");
    let named = Command::new(env!("CARGO_BIN_EXE_affectd")).args(["rules", "check"]).arg(&config).output();
    assert_eq!(String::from_utf8(named.unwrap().stdout).unwrap(), stdout);
}

#[test]
fn contradictory_keys_exit_with_64_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "[[alert]]\nname = \"angry\"\nkind = \"emotion\"\nemotion = \"anger\"\nabove = 0.5\n";
    for (text, parts) in [
        (format!("{rule}within = \"9s\"\n"), &["alert.0.within", "\"9s\"", "no within", "\"angry\""][..]),
        (format!("{rule}below = 0.1\n"), &["alert.0.below", "\"0.1\"", "not both", "\"angry\""]),
        (format!("{rule}clear = 0.9\n"), &["alert.0.clear", "\"0.9\"", "from 0 to above = 0.5", "\"angry\""]),
        (format!("{rule}{rule}"), &["alert.1.name", "\"angry\"", "a name that no other rule has"]),
        (rule.replace("anger", "boredom"), &["alert.0.emotion", "\"boredom\"", "anger", "\"angry\""]),
        (rule.replace("emotion\"\n", "mood\"\n"), &["alert.0.kind", "\"mood\"", "interruptions"]),
        (format!("{rule}colour = 1\n"), &["alert.0.colour", "unknown"]),
        (format!("[calls]\nsummaries = \"off\"\n{rule}"), &["calls.summaries", "\"off\"", "named or all"]),
        ("[webhook]\nurl = \"https://example.com/\"\n".to_owned(), &["webhook.secret", "not set"]),
        ("[webhook]\nsecret = \"hush-hush\"\n".to_owned(), &["webhook.secret", "whsec_"]),
        ("[webhook]\nurl = \"example.com\"\n".to_owned(), &["webhook.url", "\"example.com\"", "https://"]),
    ] {
        let output = affectd(&written(folder.path(), &text), &["rules", "check"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(64), 1), "{text}{stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{parts:?} in {stderr}");
        assert!(!stderr.contains("hush"), "{stderr}");
    }
}

/// Rule, state, start, raised, end of each alert of recordings.
fn replayed(config: &Path, files: &[PathBuf]) -> Vec<(String, String, String)> {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let output = affectd(config, &[&["rules", "replay", "--format", "jsonl"], &files[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let alert = |line: &str| {
        let alert: Alert = serde_json::from_str(line).unwrap();
        let times = format!("{:?} {:?} {:?}", alert.start, alert.raised_at, alert.end);
        (alert.rule, alert.state, times)
    };
    lines.lines().map(alert).collect()
}

/// Writes a recording of one channel as 16 bits.
fn wav(path: PathBuf, samples: Vec<f32>, rate_hz: u32) -> PathBuf {
    let audio = encode(&[samples], Encoding::PcmS16le);
    std::fs::write(&path, file_fixture::wav(1, 16, 1, rate_hz, &audio)).unwrap();
    path
}

/// The emotion of each window of a recording.
fn labels(config: &Path, file: &Path) -> Vec<String> {
    let output = affectd(config, &["analyze", "--format", "jsonl", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str::<EmotionEvent>(line).unwrap().emotion).collect()
}

#[test]
fn a_call_at_other_levels_has_the_same_labels_and_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), RULES);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples");
    let mut count = 0;
    for name in ["angry", "sad", "cheerful"] {
        let recording = decode_file(samples.join(format!("{name}.wav"))).unwrap();
        // Room for 6 dB above.
        let peak = recording.channels[0].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let at = |level_db: f32| {
            let gain = 0.5 / peak * 10.0_f32.powf(level_db / 20.0);
            let samples = recording.channels[0].iter().map(|sample| sample * gain).collect();
            let folder = folder.path().join(level_db.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            wav(folder.join(format!("{name}.wav")), samples, recording.sample_rate_hz)
        };
        let (expected, emotions) = (replayed(&config, &[at(0.0)]), labels(&config, &at(0.0)));
        count += expected.len();
        assert!(emotions.len() >= 4, "{name}: {emotions:?}");
        for level_db in [-20.0, 6.0] {
            assert_eq!(replayed(&config, &[at(level_db)]), expected, "{name} at {level_db} dB");
            assert_eq!(labels(&config, &at(level_db)), emotions, "{name} at {level_db} dB");
        }
    }
    assert!(count >= 4, "the samples raise alerts at all");
}

#[test]
fn hold_music_and_ring_back_raise_no_alert() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |label: &str| {
        format!(
            "[[alert]]\nname = \"{label}\"\nkind = \"emotion\"\nemotion = \"{label}\"\nabove = 0\nmin_windows = 1\n"
        )
    };
    let rules: String = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"].map(rule).concat();
    let config = written(folder.path(), &format!("[vad]\nmode = \"gate\"\n{rules}"));
    let kept = ["ring-back", "busy", "melody", "chords"];
    let sounds = sounds().into_iter().filter(|(name, _)| kept.iter().any(|kept| name.contains(kept)));
    let files: Vec<PathBuf> = (0..)
        .zip(sounds)
        .map(|(number, (_, samples))| {
            let samples = samples.iter().map(|sample| sample * 0.3).collect();
            wav(folder.path().join(format!("{number}.wav")), samples, RATE as u32)
        })
        .collect();
    assert!(files.len() >= 8);
    assert_eq!(replayed(&config, &files), []);
    let speech = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples/calm.wav");
    assert!(!replayed(&config, &[speech]).is_empty(), "the rules raise alerts on speech");
}

/// Runs `rules replay` on files of a folder; returns what it writes to stdout and to stderr.
fn replay_in(folder: &Path, arguments: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    let output = command.current_dir(folder).args(arguments.split_whitespace()).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stderr}");
    (stdout, stderr)
}

#[test]
fn a_replay_without_an_alert_has_its_windows_on_stderr_and_names_rules_of_other_channels() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &RULES.replace("priority = \"high\"", "channel = \"customer\""));
    wav(folder.path().join("silent.wav"), vec![0.0; RATE * 12], RATE as u32);
    let (stdout, stderr) = replay_in(folder.path(), "--config affectd.toml rules replay silent.wav");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(stdout.is_empty() && lines.len() == 2, "{stdout}{stderr}");
    for part in ["\"angry\"", "\"customer\"", "[\"0\"]", "--channel-names"] {
        assert!(lines[0].contains(part), "{stderr}");
    }
    assert!(
        lines[1].starts_with("no alert was raised: ") && lines[1].contains(" windows of 1 recording"),
        "{stderr}"
    );
    let (_, stderr) =
        replay_in(folder.path(), "--config affectd.toml rules replay silent.wav --channel-names customer");
    assert!(stderr.lines().count() == 1 && stderr.starts_with("no alert"), "{stderr}");
}

#[test]
fn the_commands_of_the_documentation_print_alerts_of_its_rules() {
    let page = include_str!("../../docs/alerts.md");
    let block = |kind: &str| page.split_once(kind).unwrap().1.split_once("```").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), block("```toml\n"));
    std::fs::create_dir(folder.path().join("recordings")).unwrap();
    for (name, channels) in [("call.wav", 1), ("recordings/call.wav", 2)] {
        let audio = encode(&vec![vec![0.0; RATE * 12]; channels], Encoding::PcmS16le);
        let file = file_fixture::wav(1, 16, channels as u16, RATE as u32, &audio);
        std::fs::write(folder.path().join(name), file).unwrap();
    }
    let commands: Vec<&str> = block("```sh\n").lines().collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let arguments = command.split('#').next().unwrap().strip_prefix("affectd ").unwrap();
        let (stdout, _) = replay_in(folder.path(), arguments);
        assert!(stdout.contains("dead air"), "{command}: {stdout}");
    }
}
