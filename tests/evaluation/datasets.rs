//! The dataset loaders: file names, peculiarities, splits and errors.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use affectd::datasets::{Actress, Clip, DatasetError, DatasetSpec, Split, load};

fn touch(folder: &Path, name: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, b"").unwrap();
}

fn spec(name: &str, path: &Path) -> DatasetSpec {
    DatasetSpec::parse(&format!("{name}:{}", path.display())).unwrap()
}

fn speakers(clips: &[Clip]) -> BTreeSet<String> {
    clips.iter().filter_map(|clip| clip.speaker.clone()).collect()
}

/// The speech data beside the checkout, if present.
fn real(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(folder);
    if !path.is_dir() {
        eprintln!("did not run: no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn an_unknown_dataset_is_refused_with_the_allowed_names() {
    let error = DatasetSpec::parse("ravdess:/x").unwrap_err().to_string();
    assert!(error.contains("ravdess") && error.contains("tess, crema-d, manifest"), "{error}");
    assert!(matches!(DatasetSpec::parse("tess"), Err(DatasetError::Spec(_))));
    assert!(matches!(DatasetSpec::parse("tess:"), Err(DatasetError::Spec(_))));
    let error = "dev".parse::<Split>().unwrap_err().to_string();
    assert!(error.contains("train, validation, test, all"), "{error}");
}

#[test]
fn missing_and_empty_folders_are_reported_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&spec("crema-d", &folder.path().join("nowhere")), Split::All).unwrap_err();
    assert!(matches!(missing, DatasetError::Unreadable { .. }));
    assert!(missing.to_string().contains("nowhere"), "{missing}");
    let empty = load(&spec("tess", folder.path()), Split::Test).unwrap_err().to_string();
    assert!(empty.contains("holds no clip (<OAF|YAF>_<word>_"), "{empty}");
}

#[test]
fn crema_d_parses_names_splits_speakers_and_skips_duplicate_clips() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["1001_IEO_ANG_HI.wav", "1015_DFA_NEU_XX.wav", "1088_TIE_HAP_XX.wav", "1006_TIE_NEU_XX.wav"] {
        touch(folder.path(), &format!("AudioWAV/{name}"));
    }
    touch(folder.path(), "AudioWAV/._1001_IEO_ANG_HI.wav");
    touch(folder.path(), "AudioWAV/README.txt");
    let spec = spec("crema-d", folder.path());
    let all = load(&spec, Split::All).unwrap();
    let ids: Vec<_> = all.iter().map(|clip| clip.id.as_str()).collect();
    assert_eq!(ids, ["1001_IEO_ANG_HI", "1015_DFA_NEU_XX", "1088_TIE_HAP_XX"]);
    let first = |split| load(&spec, split).unwrap()[0].clone();
    assert_eq!(first(Split::Train).emotion, "anger");
    assert_eq!(first(Split::Validation).speaker.as_deref(), Some("1015"));
    assert_eq!(first(Split::Test).emotion, "happiness");
}

#[test]
fn crema_d_reports_a_foreign_file_by_name() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), "1001_IEO_JOY_HI.wav");
    let error = load(&spec("crema-d", folder.path()), Split::All).unwrap_err();
    assert!(matches!(error, DatasetError::FileName { .. }));
    assert!(error.to_string().contains("1001_IEO_JOY_HI.wav"), "{error}");
}

#[test]
fn crema_d_on_disk_has_its_published_counts() {
    let Some(path) = real("crema-d-reconstructed") else { return };
    let spec = spec("crema-d", &path);
    let parts = [Split::Train, Split::Validation, Split::Test].map(|split| load(&spec, split).unwrap());
    assert_eq!(parts.each_ref().map(|clips| speakers(clips).len()), [63, 9, 19]);
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 7430 - 3);
    assert!(speakers(&parts[0]).is_disjoint(&speakers(&parts[2])));
}

#[test]
fn tess_prefers_file_names_to_folder_names() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), "OAF_neutral/OA_bite_neutral.flac");
    touch(folder.path(), "YAF_pleasant_surprised/YAF_back_ps.flac");
    touch(folder.path(), "OAF_Fear/OAF_food_fear.flac");
    let clips = load(&spec("tess", folder.path()), Split::All).unwrap();
    let seen: Vec<_> =
        clips.iter().map(|clip| (clip.speaker.as_deref().unwrap(), clip.emotion.as_str())).collect();
    assert_eq!(seen, [("OAF", "fear"), ("OAF", "neutral"), ("YAF", "surprise")]);
}

#[test]
fn tess_tests_on_the_actress_that_is_not_in_training() {
    let Some(path) = real("tess") else { return };
    let mut spec = spec("tess", &path);
    for (test, train) in [("YAF", "OAF"), ("OAF", "YAF")] {
        spec.test_actress = test.parse().unwrap();
        let parts = [Split::Train, Split::Validation, Split::Test].map(|split| load(&spec, split).unwrap());
        assert_eq!(parts.each_ref().map(Vec::len), [1260, 140, 1400]);
        assert_eq!(speakers(&parts[0]), BTreeSet::from([train.to_owned()]));
        assert_eq!(speakers(&parts[1]), BTreeSet::from([train.to_owned()]));
        assert_eq!(speakers(&parts[2]), BTreeSet::from([test.to_owned()]));
    }
    assert!("XAF".parse::<Actress>().unwrap_err().to_string().contains("OAF, YAF"));
}

#[test]
fn a_manifest_is_read_with_or_without_header_and_relative_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.wav", "b.wav", "sub/c d.wav"] {
        touch(folder.path(), name);
    }
    let rows = "a.wav,joy,anna\nb.wav, anger\nsub/c d.wav,joy,bert\n";
    for text in [rows.to_owned(), format!("path,label,speaker\n{rows}")] {
        let file = folder.path().join("clips.csv");
        std::fs::write(&file, text).unwrap();
        let clips = load(&spec("manifest", &file), Split::All).unwrap();
        assert_eq!(clips.len(), 3);
        assert_eq!((clips[0].emotion.as_str(), clips[0].speaker.as_deref()), ("joy", Some("anna")));
        assert_eq!((clips[1].emotion.as_str(), clips[1].speaker.as_deref()), ("anger", None));
        assert_eq!(clips[2].path, folder.path().join("sub/c d.wav"));
    }
}

#[test]
fn a_bad_row_is_reported_with_its_line_number() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), "a.wav");
    for (row, reason) in [("only-a-path", "1 columns"), ("gone.wav,joy", "no file"), ("a.wav,", "empty")] {
        let file = folder.path().join("clips.csv");
        std::fs::write(&file, format!("path,label\na.wav,joy\n{row}\n")).unwrap();
        let error = load(&spec("manifest", &file), Split::All).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains(reason), "{error}");
    }
}

#[test]
fn the_splits_of_a_manifest_share_no_speaker_and_lose_no_clip() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for index in 0..60 {
        touch(folder.path(), &format!("{index}.wav"));
        text.push_str(&format!("{index}.wav,joy,speaker-{}\n", index % 12));
    }
    let file = folder.path().join("clips.csv");
    std::fs::write(&file, text).unwrap();
    let spec = spec("manifest", &file);
    let parts = [Split::Train, Split::Validation, Split::Test].map(|split| load(&spec, split).unwrap());
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 60);
    assert_eq!(parts.each_ref().map(|clips| speakers(clips).len()), [8, 2, 2]);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(speakers(&parts[a]).is_disjoint(&speakers(&parts[b])));
    }
}
