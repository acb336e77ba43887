//! The dense network: standardised statistics, one hidden layer, labels.
//!
//! In: statistics of windows. Out: logits. The statistics' own mean and deviation come from the training set and are
//! not learnt.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;

use super::layers::{Dropout, Linear};
use super::statistics::StatisticsShape;
use crate::train::architecture::DenseShape;
use crate::train::front::Moments;

/// Statistics further out than this many deviations count as this far.
pub const MAX_DEVIATIONS: f32 = 4.0;
/// Share of the statistics that training leaves out.
const STATISTICS_DROPOUT: f32 = 0.4;
/// Share of the hidden units that training leaves out.
const HIDDEN_DROPOUT: f32 = 0.5;

/// Dense layers on statistics.
#[derive(Module, Debug)]
pub struct Dense {
    /// What is measured.
    #[module(skip)]
    pub statistics: StatisticsShape,
    /// Mean of each statistic over the training set.
    #[module(skip)]
    pub mean: Vec<f32>,
    /// One over its deviation there.
    #[module(skip)]
    pub scale: Vec<f32>,
    /// Statistics to hidden units.
    pub hidden: Linear,
    /// Of the hidden units; ReLU behind it.
    pub norm: BatchNorm,
    /// Hidden units to labels.
    pub last: Linear,
}

impl Dense {
    pub(super) fn new(shape: &DenseShape, labels: usize, rng: &mut StdRng, device: &Device) -> Self {
        let width = shape.statistics.width();
        Self {
            statistics: shape.statistics.clone(),
            mean: vec![0.0; width],
            scale: vec![1.0; width],
            hidden: Linear::new(width, shape.hidden, rng, device),
            norm: BatchNormConfig::new(shape.hidden).init(device),
            last: Linear::new(shape.hidden, labels, rng, device),
        }
    }

    /// Takes mean and deviation from rows of statistics of the training set.
    pub fn standardise(&mut self, rows: &[f32]) {
        let mut moments = Moments::new(self.mean.len());
        moments.add(rows);
        self.mean = moments.mean().iter().map(|&it| it as f32).collect();
        self.scale = moments.deviation().iter().map(|it| 1.0 / it).collect();
    }

    pub(super) fn forward(&self, statistics: Tensor<2>, dropout: &mut Dropout) -> Tensor<2> {
        let device = statistics.device();
        let row = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &device)
        };
        let standard = (statistics - row(&self.mean)) * row(&self.scale);
        let standard = dropout.apply(standard.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS), STATISTICS_DROPOUT);
        let hidden = relu(self.norm.forward(self.hidden.forward(standard)));
        self.last.forward(dropout.apply(hidden, HIDDEN_DROPOUT))
    }
}
