//! The dense network: standardized statistics, one hidden layer and an output layer.
//!
//! Input: statistics `[batch, width]`. Output: logits `[batch, labels]`. Invariants: the mean and the standard deviation of
//! the statistics come from the training set and are not learnt.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;

use super::layers::{Dropout, Linear};
use super::statistics::StatisticsShape;
use crate::train::architecture::DenseShape;
use crate::train::front::Moments;

/// The number of standard deviations at which standardized statistics are clipped.
pub const MAX_DEVIATIONS: f32 = 4.0;
/// The dropout rate of the statistics.
const STATISTICS_DROPOUT: f32 = 0.4;
/// The dropout rate of the hidden units.
const HIDDEN_DROPOUT: f32 = 0.5;

/// The dense network.
#[derive(Module, Debug)]
pub struct Dense {
    /// The statistics.
    #[module(skip)]
    pub statistics: StatisticsShape,
    /// The mean of each statistic over the training set, `[width]`.
    #[module(skip)]
    pub mean: Vec<f32>,
    /// The reciprocal of its standard deviation there, `[width]`.
    #[module(skip)]
    pub scale: Vec<f32>,
    /// The hidden layer.
    pub hidden: Linear,
    /// The batch normalization of the hidden units, followed by ReLU.
    pub norm: BatchNorm,
    /// The output layer.
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

    /// Sets mean and standard deviation from rows of statistics of the training set, `[windows * width]`.
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
