//! The audit before training: what is excluded, what is reported and kept, and what stops the run.

use std::collections::HashMap;
use std::path::Path;

use affectd::datasets::{Clip, DatasetSplits, Split};
use affectd::train::audit::{Audit, ClipProperties, FindingKind, FrameLength, audit};
use uuid::Uuid;

const FRAME: FrameLength = FrameLength { length: 512, sample_rate_hz: 16_000 };

/// Clips by name, with their label and audio.
#[derive(Default)]
struct Collection {
    partition: DatasetSplits,
    sounds: HashMap<String, Result<ClipProperties, String>>,
}

fn sound(content: u128) -> ClipProperties {
    ClipProperties { sample_rate_hz: 16_000, seconds: 1.0, peak: 0.5, content: Uuid::from_u128(content) }
}

impl Collection {
    /// Sixty good clips of two emotions in three parts.
    fn good() -> Self {
        let mut collection = Self::default();
        for index in 0..60 {
            let split = [Split::Train, Split::Validation, Split::Test][index / 2 % 3];
            let emotion = ["anger", "happiness"][index % 2];
            collection.add(split, &format!("good-{index}.wav"), emotion, Ok(sound(index as u128)));
        }
        collection
    }

    fn add(&mut self, split: Split, name: &str, emotion: &str, decoded: Result<ClipProperties, String>) {
        let part = match split {
            Split::Train => &mut self.partition.train,
            Split::Validation => &mut self.partition.validation,
            _ => &mut self.partition.test,
        };
        part.push(Clip { id: name.into(), path: name.into(), emotion: emotion.into(), speaker: None });
        self.sounds.insert(name.to_owned(), decoded);
    }

    fn audit(self) -> anyhow::Result<(DatasetSplits, Audit)> {
        let listen = |path: &Path| self.sounds[path.to_str().unwrap()].clone();
        audit(self.partition, "random", FRAME, Audit::default(), listen)
    }
}

fn clips(partition: &DatasetSplits) -> usize {
    partition.named().iter().map(|(_, clips)| clips.len()).sum()
}

#[track_caller]
fn the_one(audit: &Audit, kind: FindingKind) -> (String, String) {
    let found: Vec<_> = audit.of(kind).map(|it| (it.clip.clone(), it.reason.clone())).collect();
    let [one] = &found[..] else { panic!("{kind:?}: {found:?}") };
    one.clone()
}

#[test]
fn good_clips_are_all_kept_without_findings() {
    let (partition, audit) = Collection::good().audit().unwrap();
    assert_eq!((clips(&partition), audit.clips, audit.to_string().as_str()), (60, 60, ""));
}

#[test]
fn unusable_clips_are_excluded_with_the_reason() {
    let mut collection = Collection::good();
    collection.add(Split::Train, "broken.wav", "anger", Err("not audio".into()));
    collection.add(Split::Train, "zero.wav", "anger", Ok(ClipProperties { peak: 0.0, ..sound(100) }));
    collection.add(Split::Train, "hum.wav", "anger", Ok(ClipProperties { peak: 0.000_9, ..sound(101) }));
    collection.add(Split::Test, "click.wav", "anger", Ok(ClipProperties { seconds: 0.031_9, ..sound(102) }));
    collection.add(Split::Test, "just.wav", "anger", Ok(ClipProperties { seconds: 0.032, ..sound(103) }));
    let (partition, audit) = collection.audit().unwrap();
    assert_eq!((clips(&partition), audit.left_out().count()), (61, 4));
    assert_eq!(the_one(&audit, FindingKind::Unreadable), ("broken.wav".into(), "not audio".into()));
    assert_eq!(the_one(&audit, FindingKind::TooShort).1, "31.9 ms, one frame has 32.0");
    let silent: Vec<_> = audit.of(FindingKind::Silent).map(|it| it.reason.as_str()).collect();
    assert_eq!(silent, ["every sample is zero", "peak at -61 dB"]);
}

#[test]
fn identical_audio_with_two_labels_is_excluded_everywhere() {
    let mut collection = Collection::good();
    collection.add(Split::Train, "a.wav", "anger", Ok(sound(7_000)));
    collection.add(Split::Train, "b.wav", "happiness", Ok(sound(7_000)));
    collection.add(Split::Test, "c.wav", "anger", Ok(sound(7_000)));
    let (partition, audit) = collection.audit().unwrap();
    assert_eq!(clips(&partition), 60);
    let named: Vec<_> = audit.of(FindingKind::ContradictoryLabels).map(|it| it.clip.as_str()).collect();
    assert_eq!(named, ["a.wav", "b.wav", "c.wav"]);
    let text = audit.to_string();
    assert!(text.contains("b.wav: happiness, same sound as a.wav (anger, train)"), "{text}");
}

#[test]
fn a_clip_in_two_splits_is_reported_and_kept() {
    let mut collection = Collection::good();
    collection.add(Split::Train, "a.wav", "anger", Ok(sound(7_000)));
    collection.add(Split::Test, "b.wav", "anger", Ok(sound(7_000)));
    collection.add(Split::Train, "c.wav", "anger", Ok(sound(8_000)));
    collection.add(Split::Train, "d.wav", "anger", Ok(sound(8_000)));
    let (partition, audit) = collection.audit().unwrap();
    assert_eq!(clips(&partition), 64);
    assert_eq!(audit.of(FindingKind::DuplicateAcrossSplits).count(), 2);
}

#[test]
fn a_clip_at_another_rate_is_reported_and_kept() {
    let mut collection = Collection::good();
    collection.add(
        Split::Train,
        "a.wav",
        "anger",
        Ok(ClipProperties { sample_rate_hz: 96_000, ..sound(500) }),
    );
    let (partition, audit) = collection.audit().unwrap();
    assert_eq!(clips(&partition), 61);
    assert_eq!(the_one(&audit, FindingKind::OddSampleRate).1, "96000 Hz, most clips have 16000 Hz");
}

#[test]
fn more_than_five_percent_unreadable_clips_stop_the_run() {
    for (broken, stops) in [(3, false), (4, true)] {
        let mut collection = Collection::good();
        for index in 0..broken {
            collection.add(Split::Train, &format!("broken-{index}.wav"), "anger", Err("not audio".into()));
        }
        let result = collection.audit();
        assert_eq!(result.is_err(), stops);
        if let Err(error) = result {
            let error = error.to_string();
            assert!(error.contains("4 of 64 clips") && error.contains("broken-0.wav: not audio"), "{error}");
        }
    }
}

#[test]
fn too_few_remaining_clips_stop_the_run() {
    let mut silent_test = Collection::good();
    for clip in &silent_test.partition.test {
        silent_test.sounds.insert(clip.id.clone(), Ok(ClipProperties { peak: 0.0, ..sound(0) }));
    }
    let error = silent_test.audit().unwrap_err().to_string();
    assert!(error.contains("no clip for the split `test`"), "{error}");

    let mut one_label = Collection::good();
    one_label.partition.train.retain(|clip| clip.emotion == "anger");
    let error = one_label.audit().unwrap_err().to_string();
    assert!(error.contains("only one label (anger)"), "{error}");

    let mut unlearnt = Collection::good();
    unlearnt.add(Split::Test, "a.wav", "surprise", Ok(sound(500)));
    let error = unlearnt.audit().unwrap_err().to_string();
    assert!(error.contains("surprise of the split test is on no training clip"), "{error}");
}

#[test]
fn the_log_names_the_first_findings_and_the_report_lists_all() {
    let mut collection = Collection::good();
    for index in 0..9 {
        let silent = ClipProperties { peak: 0.0, ..sound(500) };
        collection.add(Split::Train, &format!("silent-{index}.wav"), "anger", Ok(silent));
    }
    let (_, audit) = collection.audit().unwrap();
    let text = audit.to_string();
    assert!(text.contains("9 clips without sound (left out):") && text.contains("and 4 more"), "{text}");
    assert!(!text.contains("silent-5.wav"), "{text}");
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!(json["findings"]["silent"].as_array().unwrap().len(), 9);
    assert_eq!(json["findings"]["silent"][8]["split"], "train");
}

#[test]
fn the_audit_reads_a_file_from_disk() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tone.flac");
    let decoded = ClipProperties::file(&golden).unwrap();
    assert!(decoded.peak > 0.05 && decoded.seconds > 0.1, "{decoded:?}");
    assert_eq!(decoded.content, ClipProperties::file(&golden).unwrap().content);
    assert!(ClipProperties::file(Path::new("nowhere.wav")).unwrap_err().contains("No such file"));
    assert!(ClipProperties::bytes(b"text, and no audio").is_err());
}
