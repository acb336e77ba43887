//! The clips of one or more datasets, under one set of labels, and their splits.
//!
//! Input: dataset specifications, a label map and a split protocol. Output: a [`Pool`] and its [`DatasetSplits`].
//! Invariants: speakers of different datasets are always different speakers; no audio file is decoded.

use std::collections::{BTreeMap, BTreeSet};

use super::{Clip, DatasetError, DatasetName, DatasetSpec, ExcludedFile, ExclusionReason, LabelMap};
use super::{Listing, Protocol, Split};
use super::{crema_d, manifest, named, tess};

/// A clip before it is assigned to a split.
#[derive(Debug, Clone)]
pub(super) struct PooledClip {
    pub clip: Clip,
    /// The index of its dataset.
    pub dataset: usize,
    /// Its split by the dataset's own protocol.
    pub own_split: Split,
}

/// All clips of one or more datasets.
#[derive(Debug, Default)]
pub struct Pool {
    /// The clips, dataset by dataset, each sorted by id.
    clips: Vec<PooledClip>,
    /// The number of clips that the label map excludes, by label.
    pub left_out: BTreeMap<String, usize>,
    /// Audio files that are no clips, or unusable ones.
    pub excluded: Vec<ExcludedFile>,
}

/// The training, validation and test clips.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetSplits {
    /// The clips that a model is trained on.
    pub train: Vec<Clip>,
    /// The clips that select the best epoch and the temperature.
    pub validation: Vec<Clip>,
    /// The clips that the final model is scored on, once.
    pub test: Vec<Clip>,
}

impl Pool {
    /// Reads datasets and applies the label map; each dataset holds at least one clip.
    ///
    /// # Errors
    /// Returns an error where a folder or manifest cannot be read or is empty, and where the label map names a label that no
    /// clip has.
    pub fn read(data: &[DatasetSpec], labels: &LabelMap) -> Result<Self, DatasetError> {
        let mut all = Self::default();
        for (dataset, pool) in Self::read_each(data, labels)?.into_iter().enumerate() {
            let prefix = (data.len() > 1).then(|| prefix(data, dataset));
            let member = |it: PooledClip| PooledClip { clip: qualified(it.clip, &prefix), dataset, ..it };
            all.clips.extend(pool.clips.into_iter().map(member));
            all.excluded.extend(pool.excluded);
            pool.left_out
                .into_iter()
                .for_each(|(label, clips)| *all.left_out.entry(label).or_default() += clips);
        }
        Ok(all)
    }

    /// Reads datasets as pools of their own, and applies the label map to all of them. Speakers keep their names.
    ///
    /// # Errors
    /// As [`Self::read`]: a label of the map must occur in one of the datasets.
    pub fn read_each(data: &[DatasetSpec], labels: &LabelMap) -> Result<Vec<Self>, DatasetError> {
        let mut pools = data.iter().map(Self::read_one).collect::<Result<Vec<_>, _>>()?;
        labels.check(&pools.iter().flat_map(Self::clips).map(|clip| clip.emotion.clone()).collect())?;
        pools.iter_mut().for_each(|pool| pool.relabel(labels));
        Ok(pools)
    }

    /// Reads one dataset with its own labels.
    fn read_one(spec: &DatasetSpec) -> Result<Self, DatasetError> {
        let (found, expected) = find(spec)?;
        if found.members.is_empty() {
            return Err(empty(spec, &found, expected));
        }
        let member = |(clip, own_split)| PooledClip { clip, dataset: 0, own_split };
        let mut clips: Vec<PooledClip> = found.members.into_iter().map(member).collect();
        clips.sort_by(|a, b| a.clip.id.cmp(&b.clip.id));
        Ok(Self { clips, left_out: BTreeMap::new(), excluded: found.excluded })
    }

    /// Returns the clips, dataset by dataset, each sorted by id.
    pub fn clips(&self) -> impl Iterator<Item = &Clip> {
        self.clips.iter().map(|it| &it.clip)
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

    /// Checks that every dataset has a label in common with another one. `data` are the datasets that the pool was read from.
    ///
    /// # Errors
    /// Returns an error that names the first dataset whose labels are its own.
    pub fn check_shared_labels(&self, data: &[DatasetSpec]) -> Result<(), DatasetError> {
        let labels = |kept: &dyn Fn(usize) -> bool| -> BTreeSet<&str> {
            let clips = self.clips.iter().filter(|it| kept(it.dataset));
            clips.map(|it| it.clip.emotion.as_str()).collect()
        };
        for (at, spec) in data.iter().enumerate() {
            let (own, others) = (labels(&|dataset| dataset == at), labels(&|dataset| dataset != at));
            if !own.is_empty() && !others.is_empty() && own.is_disjoint(&others) {
                let joined = |labels: BTreeSet<&str>| labels.into_iter().collect::<Vec<_>>().join(", ");
                let (labels, others) = (joined(own), joined(others));
                return Err(DatasetError::DisjointLabels { dataset: spec.to_string(), labels, others });
            }
        }
        Ok(())
    }

    /// Returns the pool, or rejects it where a file name does not follow its dataset's pattern.
    ///
    /// # Errors
    /// Returns an error that names the first such file.
    pub fn strict(self) -> Result<Self, DatasetError> {
        match self.excluded.iter().find_map(file_name_error) {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Returns all clips, dataset by dataset, each sorted by id.
    #[must_use]
    pub fn all(self) -> Vec<Clip> {
        self.clips.into_iter().map(|it| it.clip).collect()
    }

    /// Splits the clips by a protocol; no split is empty.
    ///
    /// # Errors
    /// Returns an error where a protocol by speaker finds clips without a speaker, too few speakers or an unknown fold, and
    /// where a split would be empty.
    pub fn divide(self, protocol: &Protocol) -> Result<DatasetSplits, DatasetError> {
        let assigned = protocol.assign(&self.clips)?;
        let mut splits = DatasetSplits::default();
        for (PooledClip { clip, .. }, split) in self.clips.into_iter().zip(assigned) {
            match split {
                Split::Train | Split::All => splits.train.push(clip),
                Split::Validation => splits.validation.push(clip),
                Split::Test => splits.test.push(clip),
            }
        }
        splits.check(protocol.name())?;
        Ok(splits)
    }
}

impl DatasetSplits {
    /// Returns the splits with their names, in the order train, validation, test.
    #[must_use]
    pub fn named(&self) -> [(Split, &[Clip]); 3] {
        [(Split::Train, &self.train), (Split::Validation, &self.validation), (Split::Test, &self.test)]
    }

    /// Returns the clips of one split, or of all splits one after the other.
    #[must_use]
    pub fn into_split(self, split: Split) -> Vec<Clip> {
        match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
            Split::Test => self.test,
            Split::All => [self.train, self.validation, self.test].concat(),
        }
    }

    /// Checks that no split is empty. `protocol` names the protocol in the error.
    ///
    /// # Errors
    /// Returns an error that names the first empty split.
    pub fn check(&self, protocol: &'static str) -> Result<(), DatasetError> {
        let Some((split, _)) = self.named().into_iter().find(|(_, clips)| clips.is_empty()) else {
            return Ok(());
        };
        let clips = || self.named().into_iter().flat_map(|(_, clips)| clips);
        let speakers = clips().filter_map(|clip| clip.speaker.as_deref()).collect::<BTreeSet<_>>().len();
        Err(DatasetError::EmptySplit { split, protocol, clips: clips().count(), speakers })
    }
}

/// Returns the error for a dataset without a clip: what is wrong with its files, where there are any.
fn empty(spec: &DatasetSpec, found: &Listing, expected: &'static str) -> DatasetError {
    let pointer = found.excluded.iter().filter(|file| file.reason == ExclusionReason::LfsPointer);
    if let Some(file) = pointer.clone().next() {
        return DatasetError::LfsPointers { path: file.path.clone(), files: pointer.count() };
    }
    let by_name = found.excluded.iter().find_map(file_name_error);
    by_name.unwrap_or_else(|| DatasetError::Empty { path: spec.path.clone(), expected })
}

/// Returns the error about a file whose name does not follow its dataset's pattern.
fn file_name_error(file: &ExcludedFile) -> Option<DatasetError> {
    let ExclusionReason::UnknownName(expected) = file.reason else { return None };
    Some(DatasetError::FileName { path: file.path.clone(), expected })
}

fn find(spec: &DatasetSpec) -> Result<(Listing, &'static str), DatasetError> {
    Ok(match spec.name {
        DatasetName::Tess => (tess::find(&spec.path, spec.test_actress)?, tess::PATTERN),
        DatasetName::CremaD => (crema_d::find(&spec.path)?, crema_d::PATTERN),
        DatasetName::EmoDb => (named::find(&spec.path, &named::EMO_DB)?, named::EMO_DB.pattern),
        DatasetName::Ravdess => (named::find(&spec.path, &named::RAVDESS)?, named::RAVDESS.pattern),
        DatasetName::Savee => (named::find(&spec.path, &named::SAVEE)?, named::SAVEE.pattern),
        DatasetName::Manifest => (manifest::find(&spec.path)?, manifest::EXPECTED),
    })
}

/// Returns the prefix of a dataset's speakers: its name, with a number where an earlier dataset has the same name.
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
