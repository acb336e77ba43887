//! Split protocols: the assignment of clips to training, validation and test.
//!
//! Input: clips with their speakers, and a protocol. Output: the split of each clip. Invariants: the assignment depends
//! only on names and the seed, so it is the same on every machine; except with [`Protocol::Random`], no speaker of the
//! test clips occurs in the training or validation clips.

use std::collections::BTreeSet;

use super::pool::PooledClip;
use super::{DatasetError, DatasetSpec, Split};

/// One in this number of training speakers is used for validation.
const VALIDATION_SPEAKERS: usize = 7;
/// One in this number of an emotion's clips is used for validation where speakers are shared.
const VALIDATION_CLIPS: usize = 10;
/// One in this number of an emotion's clips is used for the test where speakers are shared.
const TEST_CLIPS: usize = 5;

/// A split protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The own protocol of each dataset: the published split of CREMA-D, one actress of TESS against the other, and the
    /// speakers of the other datasets by the hash of their names.
    #[default]
    SpeakerIndependent,
    /// One speaker is the test speaker (scikit-learn's `LeaveOneGroupOut`).
    LeaveOneSpeakerOut {
        /// The test speaker's id; `DATASET:SPEAKER` with several datasets.
        speaker: String,
        /// The seed that selects the validation speakers.
        seed: u64,
    },
    /// The speakers are divided into folds, and one fold is the test split (scikit-learn's `GroupKFold`).
    KFold {
        /// The number of folds, at least 2.
        folds: usize,
        /// The test fold, from 1.
        fold: usize,
        /// The seed that divides the speakers and selects the validation speakers.
        seed: u64,
    },
    /// Clips are split at random, stratified by emotion. The same speakers occur in all splits, so the scores do not show
    /// how the model performs on other speakers.
    Random {
        /// The seed that shuffles the clips.
        seed: u64,
    },
}

impl Protocol {
    /// Creates the k-fold protocol with test fold `fold` of `folds`.
    ///
    /// # Errors
    /// Returns an error with fewer than two folds, and for a fold outside 1 to `folds`.
    pub fn k_fold(folds: usize, fold: usize, seed: u64) -> Result<Self, DatasetError> {
        if folds < 2 || !(1..=folds).contains(&fold) {
            return Err(DatasetError::FoldNumber { fold, folds });
        }
        Ok(Self::KFold { folds, fold, seed })
    }

    /// Returns the protocol's name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SpeakerIndependent => "speaker-independent",
            Self::LeaveOneSpeakerOut { .. } => "leave-one-speaker-out",
            Self::KFold { .. } => "k-fold",
            Self::Random { .. } => "random",
        }
    }

    /// Describes, in one line, the data and its split, for a report or the provenance of a model.
    #[must_use]
    pub fn describe(&self, data: &[DatasetSpec]) -> String {
        let titles = data.iter().map(DatasetSpec::title).collect::<Vec<_>>().join(" and ");
        match self {
            Self::SpeakerIndependent => data.iter().map(DatasetSpec::protocol).collect::<Vec<_>>().join("; "),
            Self::LeaveOneSpeakerOut { speaker, .. } => {
                format!("{titles}, leave one speaker out (test {speaker})")
            }
            Self::KFold { folds, fold, seed } => {
                format!("{titles}, {folds} folds by speaker (test fold {fold}, seed {seed})")
            }
            Self::Random { seed } => format!("{titles}, speaker-dependent random split (seed {seed})"),
        }
    }

    /// Returns the split of each clip, in the order of the clips.
    pub(super) fn assign(&self, clips: &[PooledClip]) -> Result<Vec<Split>, DatasetError> {
        match self {
            Self::Random { seed } => return Ok(by_clip(clips, *seed, TEST_CLIPS)),
            _ => self.check_speakers(clips)?,
        }
        match self {
            Self::LeaveOneSpeakerOut { speaker, seed } => {
                let tests = find_speaker(speaker, clips)?;
                Ok(split_by_test_speakers(clips, &BTreeSet::from([tests]), *seed))
            }
            Self::KFold { folds, fold, seed } => {
                let speakers = shuffled_speakers(clips, *seed).into_iter().flatten();
                let tests = speakers.skip(fold - 1).step_by(*folds).collect();
                Ok(split_by_test_speakers(clips, &tests, *seed))
            }
            _ => Ok(clips.iter().map(|clip| clip.own_split).collect()),
        }
    }

    fn check_speakers(&self, clips: &[PooledClip]) -> Result<(), DatasetError> {
        let mut without = clips.iter().filter(|it| it.clip.speaker.is_none());
        let protocol = self.name();
        if let Some(PooledClip { clip, .. }) = without.next() {
            let (clips, example) = (1 + without.count(), clip.id.clone());
            return Err(DatasetError::NoSpeaker { protocol, clips, example });
        }
        let needed = match self {
            Self::KFold { folds, .. } => *folds,
            _ => 2,
        };
        let found = speakers(clips).len();
        if found < needed {
            return Err(DatasetError::TooFewSpeakers { protocol, needed, found });
        }
        Ok(())
    }
}

fn speakers(clips: &[PooledClip]) -> BTreeSet<&str> {
    clips.iter().filter_map(|it| it.clip.speaker.as_deref()).collect()
}

/// Finds a speaker by its id. The dataset's prefix may be omitted where the rest matches one speaker.
fn find_speaker<'a>(name: &str, clips: &'a [PooledClip]) -> Result<&'a str, DatasetError> {
    let known = speakers(clips);
    if let Some(speaker) = known.get(name) {
        return Ok(speaker);
    }
    let has_suffix = |it: &&&str| it.strip_suffix(name).is_some_and(|front| front.ends_with(':'));
    let found: Vec<&&str> = known.iter().filter(has_suffix).collect();
    if let [only] = found[..] {
        return Ok(only);
    }
    let mut list = known.iter().take(100).copied().collect::<Vec<_>>().join(", ");
    if known.len() > 100 {
        list.push_str(", …");
    }
    Err(DatasetError::Fold { speaker: name.to_owned(), found: found.len(), known: list })
}

/// Returns the speakers of each dataset, shuffled by the seed.
fn shuffled_speakers(clips: &[PooledClip], seed: u64) -> Vec<Vec<&str>> {
    let datasets = clips.iter().map(|it| it.dataset + 1).max().unwrap_or(0);
    let of = |dataset: usize| {
        let own = clips.iter().filter(|it| it.dataset == dataset);
        let own: BTreeSet<&str> = own.filter_map(|it| it.clip.speaker.as_deref()).collect();
        let mut own: Vec<&str> = own.into_iter().collect();
        own.sort_by_key(|speaker| hash(seed, speaker));
        own
    };
    (0..datasets).map(of).collect()
}

/// Assigns the clips of the speakers `tests` to the test split and divides the others between training and validation:
/// by speaker, or by clip where only one other speaker is left.
fn split_by_test_speakers(clips: &[PooledClip], tests: &BTreeSet<&str>, seed: u64) -> Vec<Split> {
    let is_test = |it: &PooledClip| it.clip.speaker.as_deref().is_some_and(|it| tests.contains(it));
    let rest: Vec<PooledClip> = clips.iter().filter(|it| !is_test(it)).cloned().collect();
    let others = match speakers(&rest).len() {
        1 => by_clip(&rest, seed, usize::MAX),
        _ => {
            let validates = validation_speakers(&rest, seed);
            let part = |it: &PooledClip| match it.clip.speaker.as_deref() {
                Some(speaker) if validates.contains(speaker) => Split::Validation,
                _ => Split::Train,
            };
            rest.iter().map(part).collect()
        }
    };
    let mut others = others.into_iter();
    clips.iter().map(|it| if is_test(it) { Split::Test } else { others.next().unwrap_or_default() }).collect()
}

/// Selects the validation speakers: a seventh of each dataset's speakers, rounded, and at least one of the largest
/// dataset. A small dataset keeps all of its speakers in training, because their emotions may occur nowhere else.
fn validation_speakers(rest: &[PooledClip], seed: u64) -> BTreeSet<&str> {
    let by_dataset = shuffled_speakers(rest, seed.wrapping_add(1));
    let largest = (0..by_dataset.len()).max_by_key(|&at| by_dataset[at].len());
    let share = |at: usize| {
        let share = (by_dataset[at].len() + VALIDATION_SPEAKERS / 2) / VALIDATION_SPEAKERS;
        if Some(at) == largest { share.max(1) } else { share }
    };
    (0..by_dataset.len()).flat_map(|at| by_dataset[at].iter().take(share(at))).copied().collect()
}

/// Splits each emotion of each dataset by clip: one in `test_stride` clips is a test clip (none where the stride exceeds
/// the number of clips), one in ten a validation clip.
fn by_clip(clips: &[PooledClip], seed: u64, test_stride: usize) -> Vec<Split> {
    let mut order: Vec<usize> = (0..clips.len()).collect();
    let stratum = |at: usize| (clips[at].dataset, clips[at].clip.emotion.as_str());
    order.sort_by_cached_key(|&at| {
        let (dataset, emotion) = stratum(at);
        (dataset, emotion, hash(seed, &clips[at].clip.id), clips[at].clip.id.clone())
    });
    let mut splits = vec![Split::Train; clips.len()];
    for stratum in order.chunk_by(|&a, &b| stratum(a) == stratum(b)) {
        let share = |stride: usize| if stratum.len() < 3 { 0 } else { (stratum.len() / stride).max(1) };
        let tests = if test_stride > clips.len() { 0 } else { share(test_stride) };
        let validates = share(VALIDATION_CLIPS);
        for (rank, &at) in stratum.iter().enumerate().take(tests + validates) {
            splits[at] = if rank < tests { Split::Test } else { Split::Validation };
        }
    }
    splits
}

/// Returns the place of an id in the random order of a seed.
#[must_use]
pub fn order_of(seed: u64, id: &str) -> u64 {
    hash(seed, id)
}

/// Hashes a text with FNV-1a, followed by the finalizer of MurmurHash3. The standard library's hasher was rejected,
/// because it may change between releases and the splits must not.
pub(super) fn hash(seed: u64, text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut state =
        text.bytes().fold(start, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        state = (state ^ (state >> 33)).wrapping_mul(factor);
    }
    state ^ (state >> 33)
}
