//! The clips of any mix of datasets, under one set of labels, and their parts.
//!
//! In: datasets and a label map. Out: a [`Pool`], and by a protocol its [`DatasetSplits`]. Speakers of different datasets
//! are never taken for one another. Never opens an audio file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Clip, DatasetError, DatasetName, DatasetSpec, LabelMap, Listing, Protocol, Split};
use super::{crema_d, manifest, tess};

/// A clip on its way to a part.
#[derive(Debug, Clone)]
pub(super) struct PooledClip {
    pub clip: Clip,
    /// Place of its dataset in the list.
    pub dataset: usize,
    /// Its part by the dataset's own protocol.
    pub own_split: Split,
}

/// All clips of some datasets.
#[derive(Debug, Default)]
pub struct Pool {
    /// Dataset after dataset, sorted by id.
    clips: Vec<PooledClip>,
    /// How many clips of each label the map leaves out.
    pub left_out: BTreeMap<String, usize>,
    /// Audio files whose names are not of their dataset's pattern, and that pattern. They are no clips.
    pub unknown: Vec<(PathBuf, &'static str)>,
    /// Clips that a dataset is known to hold under a wrong label, or broken.
    pub known_bad: Vec<PathBuf>,
}

/// All clips in their parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetSplits {
    /// What a model learns from.
    pub train: Vec<Clip>,
    /// What its settings are chosen by.
    pub validation: Vec<Clip>,
    /// What it is measured on, once.
    pub test: Vec<Clip>,
}

impl Pool {
    /// Reads datasets; each holds at least one clip.
    ///
    /// # Errors
    /// A folder or manifest that cannot be read or is empty, and a label map that speaks of labels that are not there.
    pub fn read(data: &[DatasetSpec], labels: &LabelMap) -> Result<Self, DatasetError> {
        let mut pool = Self::default();
        let mut known = BTreeSet::new();
        for (dataset, spec) in data.iter().enumerate() {
            let (found, expected) = find(spec)?;
            if let (true, Some(path)) = (found.members.is_empty(), found.unknown.first()) {
                return Err(DatasetError::FileName { path: path.clone(), expected });
            }
            if found.members.is_empty() {
                return Err(DatasetError::Empty { path: spec.path.clone(), expected });
            }
            pool.unknown.extend(found.unknown.into_iter().map(|path| (path, expected)));
            pool.known_bad.extend(found.known_bad);
            known.extend(found.members.iter().map(|(clip, _)| clip.emotion.clone()));
            let prefix = (data.len() > 1).then(|| prefix(data, dataset));
            let mut clips: Vec<PooledClip> = found
                .members
                .into_iter()
                .map(|(clip, own_split)| PooledClip { clip: qualified(clip, &prefix), dataset, own_split })
                .collect();
            clips.sort_by(|a, b| a.clip.id.cmp(&b.clip.id));
            pool.clips.append(&mut clips);
        }
        labels.check(&known)?;
        pool.relabel(labels);
        Ok(pool)
    }

    fn relabel(&mut self, labels: &LabelMap) {
        let left_out = &mut self.left_out;
        self.clips.retain_mut(|PooledClip { clip, .. }| match labels.apply(&clip.emotion) {
            Some(label) => {
                clip.emotion = label;
                true
            }
            None => {
                *left_out.entry(clip.emotion.clone()).or_default() += 1;
                false
            }
        });
    }

    /// Refuses files whose names are not of their dataset's pattern.
    ///
    /// # Errors
    /// Names the first of them.
    pub fn strict(self) -> Result<Self, DatasetError> {
        match self.unknown.first().cloned() {
            Some((path, expected)) => Err(DatasetError::FileName { path, expected }),
            None => Ok(self),
        }
    }

    /// Every clip, dataset after dataset, sorted by id.
    #[must_use]
    pub fn all(self) -> Vec<Clip> {
        self.clips.into_iter().map(|it| it.clip).collect()
    }

    /// Splits the clips; no part is empty.
    ///
    /// # Errors
    /// A protocol by speaker without speakers, with too few, or with a fold that is none; a part that stays empty.
    pub fn divide(self, protocol: &Protocol) -> Result<DatasetSplits, DatasetError> {
        let splits = protocol.assign(&self.clips)?;
        let mut partition = DatasetSplits::default();
        for (PooledClip { clip, .. }, split) in self.clips.into_iter().zip(splits) {
            match split {
                Split::Train | Split::All => partition.train.push(clip),
                Split::Validation => partition.validation.push(clip),
                Split::Test => partition.test.push(clip),
            }
        }
        partition.check(protocol.name())?;
        Ok(partition)
    }
}

impl DatasetSplits {
    /// The parts with their names, in the order of use.
    #[must_use]
    pub fn parts(&self) -> [(Split, &[Clip]); 3] {
        [(Split::Train, &self.train), (Split::Validation, &self.validation), (Split::Test, &self.test)]
    }

    /// One part, or all of them one after the other.
    #[must_use]
    pub fn into_part(self, split: Split) -> Vec<Clip> {
        match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
            Split::Test => self.test,
            Split::All => [self.train, self.validation, self.test].concat(),
        }
    }

    /// Refuses a part without a clip.
    ///
    /// # Errors
    /// Names the part.
    pub fn check(&self, protocol: &'static str) -> Result<(), DatasetError> {
        let Some((split, _)) = self.parts().into_iter().find(|(_, clips)| clips.is_empty()) else {
            return Ok(());
        };
        let clips = || self.parts().into_iter().flat_map(|(_, clips)| clips);
        let speakers = clips().filter_map(|clip| clip.speaker.as_deref()).collect::<BTreeSet<_>>().len();
        Err(DatasetError::EmptySplit { split, protocol, clips: clips().count(), speakers })
    }
}

fn find(spec: &DatasetSpec) -> Result<(Listing, &'static str), DatasetError> {
    Ok(match spec.name {
        DatasetName::Tess => (tess::find(&spec.path, spec.test_actress)?, tess::PATTERN),
        DatasetName::CremaD => (crema_d::find(&spec.path)?, crema_d::PATTERN),
        DatasetName::Manifest => (manifest::find(&spec.path)?, "rows of path,label[,speaker]"),
    })
}

/// What sets a dataset's speakers apart: its name, and a number where an earlier one has the same.
fn prefix(data: &[DatasetSpec], at: usize) -> String {
    let name = data[at].title().to_ascii_lowercase();
    let earlier = data[..at].iter().filter(|spec| spec.name == data[at].name).count();
    if earlier == 0 { name } else { format!("{name}-{}", earlier + 1) }
}

fn qualified(mut clip: Clip, prefix: &Option<String>) -> Clip {
    if let (Some(prefix), Some(speaker)) = (prefix, &clip.speaker) {
        clip.speaker = Some(format!("{prefix}:{speaker}"));
    }
    clip
}
