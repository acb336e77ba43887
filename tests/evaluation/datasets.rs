//! The dataset loaders: file names, peculiarities, splits and errors.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use affectd::datasets::audit::{self, Audit, ClipProperties, FindingKind, FrameLength};
use affectd::datasets::{Actress, Clip, DatasetError, DatasetSpec, DatasetSplits, ExclusionReason, LabelMap};
use affectd::datasets::{Pool, Split, load};

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
    let error = DatasetSpec::parse("iemocap:/x").unwrap_err().to_string();
    assert!(
        error.contains("iemocap") && error.contains("tess, crema-d, emo-db, ravdess, savee, manifest"),
        "{error}"
    );
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
fn emo_db_on_disk_has_its_published_counts_and_splits_by_speaker() {
    let Some(path) = real("emo-db") else { return };
    let clips = |split| load(&spec("emo-db", &path), split).unwrap();
    let all = clips(Split::All);
    let of = |emotion: &str| all.iter().filter(|clip| clip.emotion == emotion).count();
    assert_eq!((all.len(), speakers(&all).len()), (535, 10));
    assert_eq!((of("anger"), of("boredom"), of("disgust"), of("neutral")), (127, 81, 46, 79));
    let (train, test) = (speakers(&clips(Split::Train)), speakers(&clips(Split::Test)));
    assert!(!test.is_empty() && train.is_disjoint(&test), "{train:?} {test:?}");
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

fn pool(spec: &DatasetSpec) -> Pool {
    Pool::read(std::slice::from_ref(spec), &LabelMap::default()).unwrap()
}

/// The names of the files that are left out, with the start of the reason.
fn excluded(pool: &Pool) -> Vec<(String, String)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let reason = |reason: &ExclusionReason| reason.to_string().chars().take(12).collect();
    pool.excluded.iter().map(|file| (name(&file.path), reason(&file.reason))).collect()
}

#[test]
fn the_header_of_a_manifest_may_have_any_case_order_and_separator() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.wav", "#1, b.wav", "sub/c.wav"] {
        touch(folder.path(), name);
    }
    let texts = [
        "\u{feff}Path,Emotion\na.wav,joy\n\"#1, b.wav\",anger\nsub\\c.wav,joy\n",
        "EMOTION;Take;FileName\njoy;1;a.wav\nanger;2;#1, b.wav\njoy;3;sub/c.wav\n",
        "file\tlabel\tspeaker\na.wav\tjoy\tanna\n#1, b.wav\tanger\nsub/c.wav\tjoy\n",
        "a.wav;joy\n#1, b.wav;anger\nsub/c.wav;joy\n",
        "#1, b.wav\tanger\na.wav\tjoy\nsub/c.wav\tjoy\n",
    ];
    for text in texts {
        let file = folder.path().join("clips.csv");
        std::fs::write(&file, text).unwrap();
        let clips =
            load(&spec("manifest", &file), Split::All).unwrap_or_else(|error| panic!("{error}: {text}"));
        let emotions: Vec<&str> = clips.iter().map(|clip| clip.emotion.as_str()).collect();
        assert_eq!(emotions, ["anger", "joy", "joy"], "{text}");
        assert_eq!(clips[0].path, folder.path().join("#1, b.wav"));
        assert_eq!(clips[2].path, folder.path().join("sub/c.wav"));
    }
}

#[test]
fn nested_folders_copies_and_names_in_any_case_are_read_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let top = "TESS Toronto emotional speech set data";
    touch(folder.path(), &format!("{top}/OAF_angry/OAF_back_angry.wav"));
    touch(folder.path(), &format!("{top}/{top}/OAF_angry/OAF_back_angry.wav"));
    touch(folder.path(), &format!("{top}/YAF_sad/yaf_Back_SAD.WAV"));
    touch(folder.path(), &format!("{top}/YAF_sad/YAF_bar_sad (1).wav"));
    touch(folder.path(), &format!("{top}/YAF_sad/YAF_bean_sad (1).wav"));
    touch(folder.path(), &format!("{top}/YAF_sad/YAF_bean_sad.wav"));
    let tess = pool(&spec("tess", folder.path()));
    assert_eq!(
        excluded(&tess),
        [
            ("OAF_back_angry.wav".to_owned(), "same clip as".to_owned()),
            ("YAF_bean_sad (1).wav".to_owned(), "same clip as".to_owned())
        ]
    );
    let ids: Vec<String> = tess.all().into_iter().map(|clip| clip.id).collect();
    assert_eq!(ids, ["OAF_back_angry", "YAF_back_sad", "YAF_bar_sad", "YAF_bean_sad"]);

    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), "CREMA-D/audiowav/1001_ieo_ang_hi.WAV");
    touch(folder.path(), "CREMA-D/audiowav/1040_ITH_SAD_X.wav");
    let crema_d = pool(&spec("crema-d", folder.path()));
    assert_eq!(excluded(&crema_d), [("1040_ITH_SAD_X.wav".to_owned(), "damaged, or ".to_owned())]);
    assert_eq!(crema_d.all()[0].id, "1001_IEO_ANG_HI");
}

#[test]
fn git_lfs_pointers_and_broken_links_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 62444\n";
    std::fs::write(folder.path().join("1002_IEO_ANG_HI.wav"), pointer).unwrap();
    let error = load(&spec("crema-d", folder.path()), Split::All).unwrap_err().to_string();
    assert!(error.contains("Git LFS pointers") && error.contains("git lfs pull"), "{error}");

    touch(folder.path(), "1001_IEO_ANG_HI.wav");
    std::os::unix::fs::symlink("nowhere.wav", folder.path().join("1003_IEO_ANG_HI.wav")).unwrap();
    let pool = pool(&spec("crema-d", folder.path()));
    let reasons = ["a Git LFS po", "a link to a "].map(str::to_owned);
    assert_eq!(excluded(&pool).into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(), reasons);
    let audit = Audit::of_pool(&pool).to_string();
    assert!(audit.contains("2 clips unreadable (left out):") && audit.contains("1003_IEO"), "{audit}");

    let file = folder.path().join("clips.csv");
    std::fs::write(&file, "1001_IEO_ANG_HI.wav,joy\n1003_IEO_ANG_HI.wav,joy\n").unwrap();
    let error = load(&spec("manifest", &file), Split::All).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("a link to a file that does not exist"), "{error}");
}

#[test]
fn the_audit_leaves_out_silent_clips_and_contradictory_labels() {
    let folder = tempfile::tempdir().unwrap();
    let sound = |level: i16| -> Vec<u8> {
        let samples = (0..8_000).flat_map(|at| (if at % 2 == 0 { level } else { -level }).to_le_bytes());
        let size = 16_000_u32.to_le_bytes();
        let head = [&b"RIFF"[..], &16_036_u32.to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()].concat();
        let format = b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data";
        head.into_iter().chain(*format).chain(size).chain(samples).collect()
    };
    for (name, level) in [("1076_MTI_SAD_XX", 0), ("1001_IEO_ANG_HI", 90), ("1001_IEO_SAD_HI", 90)] {
        std::fs::write(folder.path().join(format!("{name}.wav")), sound(level)).unwrap();
    }
    std::fs::write(folder.path().join("1002_IEO_SAD_HI.wav"), sound(120)).unwrap();
    let pool = pool(&spec("crema-d", folder.path()));
    let found = Audit::of_pool(&pool);
    let splits = DatasetSplits { train: pool.all(), ..DatasetSplits::default() };
    let frame = FrameLength { length: 512, sample_rate_hz: 16_000 };
    let (splits, audit) = audit::usable_clips(splits, frame, found, ClipProperties::file);
    let left: Vec<&str> = splits.train.iter().map(|clip| clip.id.as_str()).collect();
    assert_eq!(left, ["1002_IEO_SAD_HI"], "{audit}");
    assert_eq!(audit.of(FindingKind::Silent).count(), 1);
    assert_eq!(audit.of(FindingKind::ContradictoryLabels).count(), 2);
}
