//! The flags that say which clips take part, under which labels, in which split: the same for `train` and `evaluate`.
//!
//! In: arguments. Out: a [`Protocol`] and a [`LabelMap`]. Never reads a dataset.

use super::UsageError;
use crate::evaluation::datasets::{Actress, DatasetSpec, LabelMap, LabelRule, Protocol};

/// Speakers and labels.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Splits and labels")]
pub struct ProtocolArgs {
    /// How clips are split into training, validation and test
    #[arg(long, value_enum, value_name = "NAME", default_value = "speaker-independent")]
    protocol: ProtocolName,
    /// leave-one-speaker-out: the speaker that tests; k-fold: the fold that tests, from 1
    #[arg(long, value_name = "SPEAKER|NUMBER")]
    fold: Option<String>,
    /// k-fold: how many folds [default: 5]
    #[arg(long, value_name = "NUMBER")]
    folds: Option<usize>,
    /// For TESS, speaker-independent: the actress that tests while the other one trains: OAF or YAF [default: YAF]
    #[arg(long, value_name = "ACTRESS")]
    test_speaker: Option<Actress>,
    /// The same as --protocol random
    #[arg(long, conflicts_with_all = ["test_speaker", "protocol", "fold", "folds"])]
    speaker_dependent: bool,
    /// Give a label another name, or none to leave its clips out; repeatable
    #[arg(long, value_name = "FROM=[TO]")]
    map_label: Vec<LabelRule>,
    /// Leave out all other labels, by their names after --map-label
    #[arg(long, value_name = "LABEL,LABEL,...", value_delimiter = ',')]
    only_labels: Vec<String>,
}

/// The protocols by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolName {
    /// Each dataset's own split, which shares no speaker
    SpeakerIndependent,
    /// One speaker tests (--fold SPEAKER)
    LeaveOneSpeakerOut,
    /// One of --folds groups of speakers tests (--fold NUMBER)
    KFold,
    /// By clip, from the seed: speakers are everywhere
    Random,
}

impl ProtocolArgs {
    /// The protocol, with the seed that it draws from.
    ///
    /// # Errors
    /// A fold that is missing, that the protocol has no use for, or that is none.
    pub fn protocol(&self, seed: u64) -> anyhow::Result<Protocol> {
        let usage = |text: &str| anyhow::Error::from(UsageError(text.to_owned()));
        let name = if self.speaker_dependent { ProtocolName::Random } else { self.protocol };
        if self.folds.is_some() && name != ProtocolName::KFold {
            return Err(usage("--folds goes with --protocol k-fold alone"));
        }
        if self.test_speaker.is_some() && name != ProtocolName::SpeakerIndependent {
            return Err(usage("--test-speaker goes with --protocol speaker-independent alone"));
        }
        match (name, &self.fold) {
            (ProtocolName::SpeakerIndependent | ProtocolName::Random, Some(_)) => {
                Err(usage("--fold goes with --protocol leave-one-speaker-out or k-fold alone"))
            }
            (ProtocolName::SpeakerIndependent, None) => Ok(Protocol::SpeakerIndependent),
            (ProtocolName::Random, None) => Ok(Protocol::Random { seed }),
            (ProtocolName::LeaveOneSpeakerOut, Some(speaker)) => {
                Ok(Protocol::LeaveOneSpeakerOut { speaker: speaker.clone(), seed })
            }
            (ProtocolName::LeaveOneSpeakerOut, None) => {
                Err(usage("--protocol leave-one-speaker-out needs the speaker that tests: --fold SPEAKER"))
            }
            (ProtocolName::KFold, fold) => {
                let fold = fold.as_deref().and_then(|fold| fold.parse().ok());
                let needs = || usage("--protocol k-fold needs the fold that tests, from 1: --fold NUMBER");
                let fold = fold.ok_or_else(needs)?;
                Protocol::k_fold(self.folds.unwrap_or(5), fold, seed)
                    .map_err(|error| UsageError(format!("--fold: {error}")).into())
            }
        }
    }

    /// Which labels become which.
    ///
    /// # Errors
    /// Two rules for one label.
    pub fn labels(&self) -> anyhow::Result<LabelMap> {
        LabelMap::new(&self.map_label, &self.only_labels)
            .map_err(|error| UsageError(format!("--map-label: {error}")).into())
    }

    /// Tells the datasets of TESS who tests.
    pub fn settle(&self, data: &mut [DatasetSpec]) {
        if let Some(actress) = self.test_speaker {
            data.iter_mut().for_each(|spec| spec.test_actress = actress);
        }
    }
}

/// Says so on stderr where the same speakers train and test.
#[cfg(feature = "train")]
pub(super) fn warn_of_shared_speakers(protocol: &Protocol) {
    if matches!(protocol, Protocol::Random { .. }) {
        eprintln!(
            "WARNING: with the protocol random the same speakers train and test: the figures promise nothing for \
             another speaker"
        );
    }
}
