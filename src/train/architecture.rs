//! Shapes of the networks that can be trained, and what they cost.
//!
//! In: the name of an architecture and the sizes of input and output. Out: an [`Architecture`]. Holds no weights.

use super::network::statistics::StatisticsShape;

/// Convolutions that halve the number of frames; the later ones halve that of bands alone.
const FRAME_STRIDES: usize = 3;

/// Which kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NetworkKind {
    /// Fixed statistics of the cepstrum over time, then dense layers
    Dense,
    /// Convolutions over time and mel bands, channel attention, attentive and second-order pooling
    Cnn,
}

/// The shape of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Frames of a window.
    pub frames: usize,
    /// Values of a frame behind the first stage: mel bands for convolutions, cepstral coefficients for statistics.
    pub bands: usize,
    /// Number of labels.
    pub labels: usize,
    /// What stands between.
    pub body: Body,
}

/// The middle of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// See [`super::network::Dense`].
    Dense(DenseShape),
    /// See [`super::network::Cnn`].
    Cnn(CnnShape),
}

/// Statistics, one hidden layer, labels.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseShape {
    /// What is measured in a window.
    pub statistics: StatisticsShape,
    /// Units of the hidden layer.
    pub hidden: usize,
}

/// Convolutions over frames and bands, residual blocks over frames, two poolings, labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CnnShape {
    /// Convolutions over frames and bands, in order.
    pub blocks: Vec<BlockShape>,
    /// Channels of a frame once its bands are folded together.
    pub width: usize,
    /// Residual blocks over frames.
    pub residuals: usize,
    /// Frames under a residual block's kernel, odd.
    pub kernel: usize,
    /// Units that channel attention squeezes the channels into.
    pub squeeze: usize,
    /// Hidden units of the attention over time.
    pub attention: usize,
    /// Channels whose products are pooled.
    pub second_order: usize,
    /// What those products are projected to.
    pub projection: usize,
}

/// The shape of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// Channels that come in.
    pub channels_in: usize,
    /// Channels that go out.
    pub channels_out: usize,
    /// Frames and bands under the kernel.
    pub kernel: [usize; 2],
    /// Steps over frames and bands.
    pub stride: [usize; 2],
    /// Zeros around frames and bands.
    pub padding: [usize; 2],
}

impl BlockShape {
    /// A block whose output `i` is centred on input `i * stride`; `kernel` is odd.
    pub fn centred(channels: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> Self {
        let padding = [kernel[0] / 2, kernel[1] / 2];
        Self { channels_in: channels[0], channels_out: channels[1], kernel, stride, padding }
    }

    /// Frames and bands behind the block.
    pub fn out(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| (size[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1)
    }

    fn operations(&self, size: [usize; 2]) -> usize {
        let [frames, bands] = self.out(size);
        2 * frames * bands * self.channels_out * self.channels_in * self.kernel[0] * self.kernel[1]
    }
}

/// The sizes of a network that may be chosen; each kind takes its own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sizes {
    /// Dense: units of the hidden layer.
    pub hidden: usize,
    /// CNN: channels of each convolution over frames and bands.
    pub channels: Vec<usize>,
    /// CNN: channels of a frame in the residual blocks.
    pub width: usize,
    /// CNN: number of residual blocks.
    pub residuals: usize,
}

impl Default for Sizes {
    /// 48 MFLOP for a CNN on windows of 297 frames and 64 bands, 3 for a dense net on 24 coefficients.
    fn default() -> Self {
        Self { hidden: 320, channels: vec![16, 32, 48, 64], width: 128, residuals: 2 }
    }
}

impl Architecture {
    /// Statistics and a hidden layer.
    pub fn dense(statistics: StatisticsShape, labels: usize, sizes: &Sizes) -> Self {
        let (frames, bands) = (statistics.frames, statistics.coefficients);
        let body = Body::Dense(DenseShape { statistics, hidden: sizes.hidden });
        Self { frames, bands, labels, body }
    }

    /// Convolutions for windows of `frames` by `bands`.
    pub fn cnn([frames, bands]: [usize; 2], labels: usize, sizes: &Sizes) -> Self {
        Self { frames, bands, labels, body: Body::Cnn(CnnShape::new(sizes)) }
    }

    /// Floating-point operations of one window, a multiplication and an addition as two: convolutions, dense layers,
    /// products of matrices.
    pub fn operations(&self) -> usize {
        let size = [self.frames, self.bands];
        match &self.body {
            Body::Dense(shape) => shape.operations(self.labels),
            Body::Cnn(shape) => shape.operations(size, self.labels),
        }
    }
}

impl DenseShape {
    fn operations(&self, labels: usize) -> usize {
        self.statistics.operations() + 2 * self.hidden * (self.statistics.width() + labels)
    }
}

impl CnnShape {
    fn new(sizes: &Sizes) -> Self {
        let block = |(index, &channels_out): (usize, &usize)| {
            let channels_in = if index == 0 { 1 } else { sizes.channels[index - 1] };
            let kernel = if index == 0 { [5, 5] } else { [3, 3] };
            // Coarse at once: neighbouring frames overlap, and the early maps cost most.
            let stride = if index < FRAME_STRIDES { [2, 2] } else { [1, 2] };
            BlockShape::centred([channels_in, channels_out], kernel, stride)
        };
        Self {
            blocks: sizes.channels.iter().enumerate().map(block).collect(),
            width: sizes.width,
            residuals: sizes.residuals,
            kernel: 5,
            squeeze: (sizes.width / 8).max(1),
            attention: (sizes.width / 2).max(1),
            second_order: 24,
            projection: 64,
        }
    }

    /// Frames and bands behind the convolutions.
    pub fn map_size(&self, size: [usize; 2]) -> [usize; 2] {
        self.blocks.iter().fold(size, |size, block| block.out(size))
    }

    /// Folds all bands of a frame into its channels.
    pub fn fold(&self, bands: usize) -> BlockShape {
        let channels_in = self.blocks.last().map_or(1, |block| block.channels_out);
        let (kernel, stride, padding) = ([1, bands], [1, 1], [0, 0]);
        BlockShape { channels_in, channels_out: self.width, kernel, stride, padding }
    }

    /// A residual block's convolution.
    pub fn residual(&self) -> BlockShape {
        BlockShape::centred([self.width; 2], [self.kernel, 1], [1, 1])
    }

    /// Width of what is pooled: mean and deviation of each channel, and the projected products.
    pub fn pooled(&self) -> usize {
        2 * self.width + self.projection
    }

    fn operations(&self, mut size: [usize; 2], labels: usize) -> usize {
        let mut total = 0;
        for block in &self.blocks {
            total += block.operations(size);
            size = block.out(size);
        }
        total += self.fold(size[1]).operations(size);
        let (frames, products) = (size[0], self.second_order * self.second_order);
        let residual = self.residual().operations([frames, 1]) + 4 * self.width * self.squeeze;
        let attention = 4 * frames * self.width * self.attention;
        let second_order = 2 * frames * (self.width * self.second_order + 2 * products);
        let dense = 2 * (products * self.projection + self.pooled() * labels);
        total + self.residuals * residual + attention + second_order + dense
    }
}
