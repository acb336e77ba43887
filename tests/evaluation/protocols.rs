//! Splits into training, validation and test: no shared speakers, stratified emotions, and renamed labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use affectd::datasets::{Clip, DatasetSpec, DatasetSplits, LabelMap, Pool, Protocol, Split};
use proptest::prelude::*;

const EMOTIONS: [&str; 4] = ["anger", "calm", "happiness", "surprise"];

/// A manifest of `clips` clips by `speakers` speakers; without a speaker column for 0.
fn manifest(folder: &Path, name: &str, clips: usize, speakers: usize) -> DatasetSpec {
    std::fs::write(folder.join("clip.wav"), b"").unwrap();
    let mut text = String::new();
    for index in 0..clips {
        std::fs::hard_link(folder.join("clip.wav"), folder.join(format!("{name}-{index}.wav"))).unwrap();
        let speaker = if speakers == 0 { String::new() } else { format!("s{}", index % speakers) };
        text.push_str(&format!("{name}-{index}.wav,{},{speaker}\n", EMOTIONS[index / 3 % 4]));
    }
    let file = folder.join(format!("{name}.csv"));
    std::fs::write(&file, text).unwrap();
    DatasetSpec::parse(&format!("manifest:{}", file.display())).unwrap()
}

fn pool(data: &[DatasetSpec]) -> Pool {
    Pool::read(data, &LabelMap::default()).unwrap()
}

fn refusal(data: &DatasetSpec, protocol: &Protocol) -> String {
    pool(std::slice::from_ref(data)).divide(protocol).unwrap_err().to_string()
}

fn speakers(clips: &[Clip]) -> BTreeSet<&str> {
    clips.iter().filter_map(|clip| clip.speaker.as_deref()).collect()
}

#[track_caller]
fn assert_disjoint(partition: &DatasetSplits) {
    let [train, validation, test] = partition.named().map(|(_, clips)| speakers(clips));
    assert!(train.is_disjoint(&validation), "{train:?} {validation:?}");
    assert!(train.is_disjoint(&test) && validation.is_disjoint(&test), "{train:?} {validation:?} {test:?}");
}

fn share_of(clips: &[Clip], emotion: &str) -> usize {
    clips.iter().filter(|clip| clip.emotion == emotion).count()
}

fn real(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(folder);
    path.is_dir().then_some(path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_speaker_is_in_two_splits(seed: u64, first in 3_usize..12, second in 1_usize..6, fold in 1_usize..=3) {
        let folder = tempfile::tempdir().unwrap();
        let data = [manifest(folder.path(), "a", 60, first), manifest(folder.path(), "b", 30, second)];
        let protocols = [
            Protocol::SpeakerIndependent,
            Protocol::LeaveOneSpeakerOut { speaker: "manifest-2:s0".into(), seed },
            Protocol::k_fold(3, fold, seed).unwrap(),
        ];
        for protocol in protocols {
            let partition = pool(&data).divide(&protocol).unwrap();
            assert_disjoint(&partition);
            prop_assert_eq!(partition.named().iter().map(|(_, clips)| clips.len()).sum::<usize>(), 90);
        }
    }

    #[test]
    fn a_random_split_is_stratified_by_emotion(seed: u64, clips in 40_usize..200) {
        let folder = tempfile::tempdir().unwrap();
        let data = manifest(folder.path(), "a", clips, 0);
        let partition = pool(std::slice::from_ref(&data)).divide(&Protocol::Random { seed }).unwrap();
        let all = pool(&[data]).all();
        for emotion in EMOTIONS {
            let total = share_of(&all, emotion);
            prop_assert_eq!(share_of(&partition.test, emotion), (total / 5).max(1));
            prop_assert_eq!(share_of(&partition.validation, emotion), (total / 10).max(1));
        }
    }
}

#[test]
fn each_speaker_is_tested_in_exactly_one_fold_chosen_by_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let data = [manifest(folder.path(), "a", 60, 11)];
    let fold = |fold, seed| pool(&data).divide(&Protocol::k_fold(4, fold, seed).unwrap()).unwrap();
    let mut seen = BTreeMap::new();
    for number in 1..=4 {
        for speaker in speakers(&fold(number, 7).test) {
            *seen.entry(speaker.to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), 11);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    assert_eq!(fold(1, 7), fold(1, 7));
    assert_ne!(fold(1, 7).test, fold(1, 8).test);
}

#[test]
fn a_single_remaining_speaker_trains_and_validates_but_never_tests() {
    let folder = tempfile::tempdir().unwrap();
    let data = manifest(folder.path(), "a", 60, 2);
    let protocol = Protocol::LeaveOneSpeakerOut { speaker: "s1".into(), seed: 0 };
    let partition = pool(&[data]).divide(&protocol).unwrap();
    assert_eq!(speakers(&partition.test), BTreeSet::from(["s1"]));
    assert_eq!(speakers(&partition.train), BTreeSet::from(["s0"]));
    assert_eq!(speakers(&partition.validation), BTreeSet::from(["s0"]));
}

#[test]
fn speakers_of_two_datasets_are_distinct() {
    let folder = tempfile::tempdir().unwrap();
    let data = [manifest(folder.path(), "a", 30, 3), manifest(folder.path(), "b", 30, 4)];
    let all = pool(&data).all();
    assert_eq!(speakers(&all).len(), 7);
    let test_on = |speaker: &str| {
        pool(&data).divide(&Protocol::LeaveOneSpeakerOut { speaker: speaker.into(), seed: 0 })
    };
    assert_eq!(speakers(&test_on("s3").unwrap().test), BTreeSet::from(["manifest-2:s3"]));
    let error = test_on("s0").unwrap_err().to_string();
    assert!(error.contains("`s0` names 2 speakers") && error.contains("manifest-2:s0"), "{error}");
}

#[test]
fn an_impossible_split_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let unnamed = manifest(folder.path(), "nobody", 30, 0);
    for protocol in [Protocol::SpeakerIndependent, Protocol::k_fold(5, 1, 0).unwrap()] {
        let error = refusal(&unnamed, &protocol);
        assert!(error.contains(&format!("{} needs the speaker", protocol.name())), "{error}");
        assert!(error.contains("30 have none") && error.contains("random"), "{error}");
    }
    let three = manifest(folder.path(), "three", 30, 3);
    let error = refusal(&three, &Protocol::k_fold(5, 1, 0).unwrap());
    assert!(error.contains("k-fold needs at least 5 speakers, and there are 3"), "{error}");
    let error = refusal(&three, &Protocol::LeaveOneSpeakerOut { speaker: "anna".into(), seed: 0 });
    assert!(error.contains("`anna` names 0 speakers") && error.contains("s0, s1, s2"), "{error}");
    let two = manifest(folder.path(), "two", 30, 2);
    let error = refusal(&two, &Protocol::SpeakerIndependent);
    assert!(error.contains("no clip for the split `validation`") && error.contains("2 speakers"), "{error}");
    assert!(Protocol::k_fold(5, 6, 0).unwrap_err().to_string().contains("fold `6` of 5"));
}

#[test]
fn label_renames_apply_simultaneously() {
    let folder = tempfile::tempdir().unwrap();
    let data = [manifest(folder.path(), "a", 60, 5)];
    let rules = ["anger=happiness", "happiness=joy", "calm="].map(|rule| rule.parse().unwrap());
    let labels = |only: &[&str]| {
        let only: Vec<String> = only.iter().map(|&label| label.into()).collect();
        LabelMap::new(&rules, &only).unwrap()
    };
    let pool = Pool::read(&data, &labels(&[])).unwrap();
    assert_eq!(pool.left_out, BTreeMap::from([("calm".to_owned(), 15)]));
    let all = pool.all();
    assert_eq!(["happiness", "joy", "surprise"].map(|label| share_of(&all, label)), [15, 15, 15]);
    let pool = Pool::read(&data, &labels(&["joy", "happiness"])).unwrap();
    assert_eq!(pool.left_out.values().sum::<usize>(), 30);
    assert_eq!(pool.all().len(), 30);
    let error = Pool::read(&data, &labels(&["anger"])).unwrap_err().to_string();
    assert!(error.contains("`anger` is on no clip (known: happiness, joy, surprise)"), "{error}");
}

#[test]
fn an_invalid_label_rule_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = [manifest(folder.path(), "a", 12, 3)];
    let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let map = LabelMap::new(&rules(&["angr=anger"]), &[]).unwrap();
    let error = Pool::read(&data, &map).unwrap_err().to_string();
    assert!(error.contains("`angr` is on no clip (known: anger, calm"), "{error}");
    let error = LabelMap::new(&rules(&["calm=", "calm=joy"]), &[]).unwrap_err().to_string();
    assert!(error.contains("`calm` is mapped twice"), "{error}");
    for text in ["calm", "=joy", "a=b=c"] {
        let error = text.parse::<affectd::datasets::LabelRule>().unwrap_err().to_string();
        assert!(error.contains("FROM=TO"), "{error}");
    }
}

#[test]
fn a_random_split_of_tess_has_both_speakers_and_is_labelled_so() {
    let Some(path) = real("tess") else { return };
    let data = [DatasetSpec::parse(&format!("tess:{}", path.display())).unwrap()];
    let protocol = Protocol::Random { seed: 0 };
    let test = pool(&data).divide(&protocol).unwrap().into_split(Split::Test);
    assert_eq!((test.len(), speakers(&test).len()), (560, 2));
    assert!(protocol.describe(&data).contains("speaker-dependent"));
}

#[test]
fn contradictory_flags_are_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("manifest:{}", manifest(folder.path(), "a", 12, 3).path.display());
    let cases: [(&[&str], &str); 6] = [
        (&["--fold", "s1"], "--fold is only allowed with"),
        (&["--protocol", "k-fold"], "--fold NUMBER"),
        (&["--protocol", "k-fold", "--fold", "9"], "fold `9` of 5"),
        (&["--protocol", "leave-one-speaker-out"], "--fold SPEAKER"),
        (&["--protocol", "random", "--folds", "3"], "--folds is only allowed with"),
        (&["--map-label", "calm"], "FROM=TO"),
    ];
    for (flags, text) in cases {
        let mut affectd = Command::new(env!("CARGO_BIN_EXE_affectd"));
        let output = affectd.args(["evaluate", "--data", &data]).args(flags).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(text), "{error}");
    }
}
