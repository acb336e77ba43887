//! What the network sees of a training batch: windows changed anew each time, or statistics that were measured once.
//!
//! In: places of windows in the training corpus. Out: [`NetworkInput`] batches, and mixtures of them. A network without
//! learnt layers before its statistics gets each window's statistics from a table, and those of one changed copy.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Beta, Distribution};

use super::batch;
use super::corpus::LabelledWindow;
use super::fit::{Fit, SCORING_BATCH};
use super::front::Normalised;
use super::network::{Network, NetworkInput};

/// Where training batches come from.
pub(super) enum Feed {
    /// From the windows.
    Windows,
    /// From tables of statistics, `[windows * width]` each: as the windows are, and changed.
    Statistics { unchanged: Vec<f32>, changed: Vec<f32>, width: usize },
}

impl Feed {
    /// Measures all statistics once, where the network stands on statistics, and standardises them.
    pub(super) fn new(fit: &Fit, network: &mut Network, rng: &mut StdRng) -> Self {
        let windows: Vec<&LabelledWindow> = fit.train.windows.iter().collect();
        let measured =
            |network: &Network, copy: &mut dyn FnMut(&[&LabelledWindow]) -> Tensor<3>| -> Vec<f32> {
                let measure = |chunk: &[&LabelledWindow]| match network.encode(fit.front.apply(copy(chunk))) {
                    NetworkInput::Windows(_) => Vec::new(),
                    NetworkInput::Statistics(values) => {
                        values.try_into_vec_as().expect("flex keeps f32 in memory")
                    }
                };
                windows.chunks(SCORING_BATCH).flat_map(measure).collect()
            };
        let Network::Dense(dense) = &*network else { return Self::Windows };
        let (device, shape, width) = (Device::flex(), fit.shape(), dense.mean.len());
        let unchanged = measured(network, &mut |chunk| batch::unchanged(chunk, shape, &device));
        let changed =
            measured(network, &mut |chunk| batch::changed(chunk, shape, &fit.changes, (&mut *rng, &device)));
        if let Network::Dense(dense) = network {
            dense.standardise(&unchanged);
        }
        Self::Statistics { unchanged, changed, width }
    }

    /// The windows at some places of the training corpus.
    pub(super) fn batch(&self, fit: &Fit, chosen: &[usize], rng: &mut StdRng) -> NetworkInput {
        let device = Device::flex().autodiff();
        match self {
            Self::Windows => {
                let windows: Vec<&LabelledWindow> =
                    chosen.iter().map(|&index| &fit.train.windows[index]).collect();
                let features = batch::changed(&windows, fit.shape(), &fit.changes, (rng, &device));
                NetworkInput::Windows(fit.front.apply(features))
            }
            Self::Statistics { unchanged, changed, width } => {
                let mut rows = Vec::with_capacity(chosen.len() * width);
                for &index in chosen {
                    let table = if rng.random::<bool>() { unchanged } else { changed };
                    rows.extend_from_slice(&table[index * width..][..*width]);
                }
                let rows = TensorData::new(rows, [chosen.len(), *width]);
                NetworkInput::Statistics(Tensor::from_data(rows, &device))
            }
        }
    }

    /// Each row mixed with the one at the mirrored place of the batch, by a share from the beta distribution.
    pub(super) fn mixed(
        &self,
        seen: NetworkInput,
        targets: Tensor<2>,
        alpha: f32,
        rng: &mut StdRng,
    ) -> (NetworkInput, Tensor<2>) {
        if alpha <= 0.0 {
            return (seen, targets);
        }
        let beta = Beta::new(alpha, alpha).expect("both parameters are above 0");
        let [count, _] = targets.dims();
        let shares: Vec<f32> = (0..count).map(|_| beta.sample(rng)).collect();
        let shares = Tensor::<2>::from_data(TensorData::new(shares, [count, 1]), &targets.device());
        let targets = between(targets, shares.clone());
        let seen = match seen {
            NetworkInput::Statistics(values) => NetworkInput::Statistics(between(values, shares)),
            NetworkInput::Windows(input) => NetworkInput::Windows(Normalised {
                features: between(input.features, shares.unsqueeze_dim(2)),
                // A frame is there where either has it.
                mask: input.mask.clone().max_pair(input.mask.flip([0])),
            }),
        };
        (seen, targets)
    }
}

fn between<const D: usize>(values: Tensor<D>, share: Tensor<D>) -> Tensor<D> {
    values.clone() * share.clone() + values.flip([0]) * (-share + 1.0)
}
