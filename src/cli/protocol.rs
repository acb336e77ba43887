//! The flags of split protocol and labels, which `train` and `evaluate` share.
//!
//! Input: arguments. Output: a [`Protocol`] and a [`LabelMap`]. Invariants: no dataset is read.

use super::UsageError;
use crate::datasets::{Actress, DatasetSpec, LabelMap, LabelRule, Protocol};

/// The split protocol and the labels.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Splits and labels")]
pub struct ProtocolArgs {
    /// The protocol that splits clips into training, validation and test
    #[arg(long, value_enum, value_name = "NAME", default_value = "speaker-independent")]
    protocol: ProtocolName,
    /// leave-one-speaker-out: the test speaker; k-fold: the test fold, from 1
    #[arg(long, value_name = "SPEAKER|NUMBER")]
    fold: Option<String>,
    /// k-fold: the number of folds [default: 5]
    #[arg(long, value_name = "NUMBER")]
    folds: Option<usize>,
    /// TESS, speaker-independent: the test actress, OAF or YAF; the other one is the training actress [default: YAF]
    #[arg(long, value_name = "ACTRESS")]
    test_speaker: Option<Actress>,
    /// The same as --protocol random
    #[arg(long, conflicts_with_all = ["test_speaker", "protocol", "fold", "folds"])]
    speaker_dependent: bool,
    /// Rename a label, or exclude its clips with an empty name; repeatable
    #[arg(long, value_name = "FROM=[TO]")]
    map_label: Vec<LabelRule>,
    /// Exclude all other labels: their clips and, in an evaluation, answers with them too; the names are those after
    /// --map-label
    #[arg(long, value_name = "LABEL,LABEL,...", value_delimiter = ',')]
    pub only_labels: Vec<String>,
}

/// The names of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolName {
    /// The own split of each dataset, without shared speakers
    SpeakerIndependent,
    /// One test speaker (--fold SPEAKER)
    LeaveOneSpeakerOut,
    /// One of --folds groups of speakers is the test split (--fold NUMBER)
    KFold,
    /// Random by clip: speakers occur in all splits
    Random,
}

impl ProtocolArgs {
    /// Returns the protocol; `seed` is used by the protocols that select at random.
    ///
    /// # Errors
    /// Returns a usage error where the fold is missing, not applicable to the protocol, or invalid.
    pub fn protocol(&self, seed: u64) -> anyhow::Result<Protocol> {
        let usage = |text: &str| anyhow::Error::from(UsageError(text.to_owned()));
        let name = if self.speaker_dependent { ProtocolName::Random } else { self.protocol };
        if self.folds.is_some() && name != ProtocolName::KFold {
            return Err(usage("--folds is only allowed with --protocol k-fold"));
        }
        if self.test_speaker.is_some() && name != ProtocolName::SpeakerIndependent {
            return Err(usage("--test-speaker is only allowed with --protocol speaker-independent"));
        }
        match (name, &self.fold) {
            (ProtocolName::SpeakerIndependent | ProtocolName::Random, Some(_)) => {
                Err(usage("--fold is only allowed with --protocol leave-one-speaker-out or k-fold"))
            }
            (ProtocolName::SpeakerIndependent, None) => Ok(Protocol::SpeakerIndependent),
            (ProtocolName::Random, None) => Ok(Protocol::Random { seed }),
            (ProtocolName::LeaveOneSpeakerOut, Some(speaker)) => {
                Ok(Protocol::LeaveOneSpeakerOut { speaker: speaker.clone(), seed })
            }
            (ProtocolName::LeaveOneSpeakerOut, None) => {
                Err(usage("--protocol leave-one-speaker-out needs the test speaker: --fold SPEAKER"))
            }
            (ProtocolName::KFold, fold) => {
                let fold = fold.as_deref().and_then(|fold| fold.parse().ok());
                let needs = || usage("--protocol k-fold needs the test fold, from 1: --fold NUMBER");
                let fold = fold.ok_or_else(needs)?;
                Protocol::k_fold(self.folds.unwrap_or(5), fold, seed)
                    .map_err(|error| UsageError(format!("--fold: {error}")).into())
            }
        }
    }

    /// Returns the label map.
    ///
    /// # Errors
    /// Returns a usage error where two rules have the same label.
    pub fn labels(&self) -> anyhow::Result<LabelMap> {
        self.labels_of_clips(&self.only_labels)
    }

    /// Returns the label map that keeps the clips of `only`, or all clips where it is empty.
    ///
    /// # Errors
    /// Returns a usage error where two rules have the same label.
    pub fn labels_of_clips(&self, only: &[String]) -> anyhow::Result<LabelMap> {
        LabelMap::new(&self.map_label, only)
            .map_err(|error| UsageError(format!("--map-label: {error}")).into())
    }

    /// Sets the test actress of the TESS datasets.
    pub fn set_test_speaker(&self, data: &mut [DatasetSpec]) {
        if let Some(actress) = self.test_speaker {
            data.iter_mut().for_each(|spec| spec.test_actress = actress);
        }
    }
}

/// Prints a warning to stderr where training and test clips share speakers.
#[cfg(feature = "train")]
pub(super) fn warn_of_shared_speakers(protocol: &Protocol) {
    if matches!(protocol, Protocol::Random { .. }) {
        eprintln!(
            "WARNING: with the protocol random, the same speakers occur in training and test: the scores do not apply to \
             other speakers"
        );
    }
}
