//! The input of the network for each training batch.
//!
//! Input: indexes of windows in the training corpus. Output: [`NetworkInput`] batches, optionally with mixup. For the CNN,
//! windows are augmented anew in each epoch. For the dense net, the statistics have no learnt parameters, so they are
//! computed once for each window and once for an augmented copy; recomputing them in every epoch was rejected, because it
//! would take most of the training time. For a head on an encoder, the windows are embeddings, and augmented copies of
//! them are computed before the training.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Beta, Distribution};

use super::architecture::Body;
use super::batch;
use super::corpus::LabelledWindow;
use super::fit::{Fit, SCORING_BATCH};
use super::front::Normalised;
use super::network::{Network, NetworkInput};

/// The source of training batches.
pub(super) enum Feed {
    /// The windows, augmented for each batch.
    Windows,
    /// The windows or one of their augmented copies, at random. `pooled`: whether they are embeddings.
    Copies { pooled: bool },
    /// Precomputed statistics, `[windows * width]` each, of the original and of the augmented windows.
    Statistics { unchanged: Vec<f32>, augmented: Vec<f32>, width: usize },
}

impl Feed {
    /// Creates the source. For the dense net it computes all statistics and sets the network's standardization from them.
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
        if let Body::Head(head) = &fit.architecture.body {
            return Self::Copies { pooled: head.attention.is_none() };
        }
        let Network::Dense(dense) = &*network else { return Self::Windows };
        let (device, shape, width) = (Device::flex(), fit.shape(), dense.mean.len());
        let unchanged = measured(network, &mut |chunk| batch::unchanged(chunk, shape, &device));
        let augmented = measured(network, &mut |chunk| {
            batch::augmented(chunk, shape, &fit.augmentations, &mut *rng, &device)
        });
        if let Network::Dense(dense) = network {
            dense.standardise(&unchanged);
        }
        Self::Statistics { unchanged, augmented, width }
    }

    /// Returns the batch of the windows with the indexes `chosen`.
    pub(super) fn batch(&self, fit: &Fit, chosen: &[usize], rng: &mut StdRng) -> NetworkInput {
        let device = Device::flex().autodiff();
        match self {
            Self::Windows => {
                let windows: Vec<&LabelledWindow> =
                    chosen.iter().map(|&index| &fit.train.windows[index]).collect();
                let features = batch::augmented(&windows, fit.shape(), &fit.augmentations, rng, &device);
                NetworkInput::Windows(fit.front.apply(features))
            }
            Self::Copies { pooled } => {
                let windows: Vec<&LabelledWindow> =
                    chosen.iter().map(|&index| fit.any_copy(index, rng)).collect();
                let input = fit.front.apply(batch::unchanged(&windows, fit.shape(), &device));
                match pooled {
                    true => NetworkInput::Statistics(input.features.squeeze_dim(1)),
                    false => NetworkInput::Windows(input),
                }
            }
            Self::Statistics { unchanged, augmented, width } => {
                let mut rows = Vec::with_capacity(chosen.len() * width);
                for &index in chosen {
                    let table = if rng.random::<bool>() { unchanged } else { augmented };
                    rows.extend_from_slice(&table[index * width..][..*width]);
                }
                let rows = TensorData::new(rows, [chosen.len(), *width]);
                NetworkInput::Statistics(Tensor::from_data(rows, &device))
            }
        }
    }

    /// Applies mixup (Zhang et al. 2018, <https://arxiv.org/abs/1710.09412>): each row is mixed with the row at the mirrored
    /// index of the batch, by a share drawn from Beta(alpha, alpha). With `alpha` 0 the batch is returned unchanged.
    pub(super) fn mixup(
        &self,
        input: NetworkInput,
        targets: Tensor<2>,
        alpha: f32,
        rng: &mut StdRng,
    ) -> (NetworkInput, Tensor<2>) {
        if alpha <= 0.0 {
            return (input, targets);
        }
        let beta = Beta::new(alpha, alpha).expect("both parameters are above 0");
        let [count, _] = targets.dims();
        let shares: Vec<f32> = (0..count).map(|_| beta.sample(rng)).collect();
        let shares = Tensor::<2>::from_data(TensorData::new(shares, [count, 1]), &targets.device());
        let targets = mix(targets, shares.clone());
        let input = match input {
            NetworkInput::Statistics(values) => NetworkInput::Statistics(mix(values, shares)),
            NetworkInput::Windows(input) => NetworkInput::Windows(Normalised {
                features: mix(input.features, shares.unsqueeze_dim(2)),
                // A mixed frame is present where either of the two frames is.
                mask: input.mask.clone().max_pair(input.mask.flip([0])),
            }),
        };
        (input, targets)
    }
}

impl Fit<'_> {
    /// Returns a training window or one of its augmented copies, each with the same probability.
    fn any_copy(&self, index: usize, rng: &mut StdRng) -> &LabelledWindow {
        let copy = rng.random_range(0..=self.copies.len());
        let corpus = if copy == 0 { self.train } else { &self.copies[copy - 1] };
        &corpus.windows[index]
    }
}

/// Returns `share · values + (1 - share) · reversed(values)`, with the batch axis reversed.
fn mix<const D: usize>(values: Tensor<D>, share: Tensor<D>) -> Tensor<D> {
    values.clone() * share.clone() + values.flip([0]) * (-share + 1.0)
}
