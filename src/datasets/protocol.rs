//! Who trains, who validates, who tests.
//!
//! In: clips with their speakers, and a protocol. Out: the part of each clip. Decided by names and the seed alone, the
//! same on every machine. But for [`Protocol::Random`], no speaker tests who trains or validates.

use std::collections::BTreeSet;

use super::pool::PooledClip;
use super::{DatasetError, DatasetSpec, Split};

/// Of the training speakers, one in so many validates.
const VALIDATION_SPEAKERS: usize = 7;
/// Of the clips of an emotion, one in so many validates where speakers are shared.
const VALIDATION_CLIPS: usize = 10;
/// Of the clips of an emotion, one in so many tests where speakers are shared.
const TEST_CLIPS: usize = 5;

/// How clips are split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Each dataset's own: CREMA-D's published split, one actress of TESS against the other, a manifest's speakers by
    /// the hash of their names.
    #[default]
    SpeakerIndependent,
    /// One speaker tests.
    LeaveOneSpeakerOut {
        /// As the dataset has it; `DATASET:SPEAKER` among several datasets.
        speaker: String,
        /// Draws who validates.
        seed: u64,
    },
    /// Speakers are dealt to folds, and one fold tests.
    KFold {
        /// How many folds, at least 2.
        folds: usize,
        /// The one that tests, from 1.
        fold: usize,
        /// Deals the speakers, and draws who validates.
        seed: u64,
    },
    /// By clip, each emotion in the same shares: speakers are everywhere, so the figures promise nothing for another
    /// one.
    Random {
        /// Shuffles the clips.
        seed: u64,
    },
}

impl Protocol {
    /// The protocol where fold `fold` of `folds` tests.
    ///
    /// # Errors
    /// Fewer than two folds, and a number outside 1 to `folds`.
    pub fn k_fold(folds: usize, fold: usize, seed: u64) -> Result<Self, DatasetError> {
        if folds < 2 || !(1..=folds).contains(&fold) {
            return Err(DatasetError::FoldNumber { fold, folds });
        }
        Ok(Self::KFold { folds, fold, seed })
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SpeakerIndependent => "speaker-independent",
            Self::LeaveOneSpeakerOut { .. } => "leave-one-speaker-out",
            Self::KFold { .. } => "k-fold",
            Self::Random { .. } => "random",
        }
    }

    /// In one line: the data and how it is split, for a report or a model's provenance.
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

    /// The part of each clip, in the order of the clips.
    pub(super) fn assign(&self, clips: &[PooledClip]) -> Result<Vec<Split>, DatasetError> {
        match self {
            Self::Random { seed } => return Ok(by_clip(clips, *seed, TEST_CLIPS)),
            _ => self.check_speakers(clips)?,
        }
        match self {
            Self::LeaveOneSpeakerOut { speaker, seed } => {
                let tests = the_one_named(speaker, clips)?;
                Ok(around(clips, &BTreeSet::from([tests]), *seed))
            }
            Self::KFold { folds, fold, seed } => {
                let speakers = shuffled_speakers(clips, *seed).into_iter().flatten();
                let tests = speakers.skip(fold - 1).step_by(*folds).collect();
                Ok(around(clips, &tests, *seed))
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

/// The speaker called so; the dataset's name in front may be left out where that leaves one.
fn the_one_named<'a>(name: &str, clips: &'a [PooledClip]) -> Result<&'a str, DatasetError> {
    let known = speakers(clips);
    if let Some(speaker) = known.get(name) {
        return Ok(speaker);
    }
    let ends_so = |it: &&&str| it.strip_suffix(name).is_some_and(|front| front.ends_with(':'));
    let found: Vec<&&str> = known.iter().filter(ends_so).collect();
    if let [only] = found[..] {
        return Ok(only);
    }
    let mut list = known.iter().take(100).copied().collect::<Vec<_>>().join(", ");
    if known.len() > 100 {
        list.push_str(", …");
    }
    Err(DatasetError::Fold { speaker: name.to_owned(), found: found.len(), known: list })
}

/// The speakers of each dataset in an order that the seed decides.
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

/// `tests` test; of the others some validate. One other speaker alone has to do both: a share of those clips
/// validates.
fn around(clips: &[PooledClip], tests: &BTreeSet<&str>, seed: u64) -> Vec<Split> {
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

/// A seventh of each dataset's speakers; of the largest at least one. So a small dataset keeps its speakers in
/// training, and its emotions with them.
fn validation_speakers(rest: &[PooledClip], seed: u64) -> BTreeSet<&str> {
    let by_dataset = shuffled_speakers(rest, seed.wrapping_add(1));
    let largest = (0..by_dataset.len()).max_by_key(|&at| by_dataset[at].len());
    let share = |at: usize| {
        let share = (by_dataset[at].len() + VALIDATION_SPEAKERS / 2) / VALIDATION_SPEAKERS;
        if Some(at) == largest { share.max(1) } else { share }
    };
    (0..by_dataset.len()).flat_map(|at| by_dataset[at].iter().take(share(at))).copied().collect()
}

/// Splits each emotion of each dataset by clip: one in `test_stride` tests, one in ten validates.
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

/// FNV-1a with a final avalanche (MurmurHash3's): the same on every machine and release, as a split has to be.
pub(super) fn hash(seed: u64, text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut state =
        text.bytes().fold(start, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        state = (state ^ (state >> 33)).wrapping_mul(factor);
    }
    state ^ (state >> 33)
}
