//! The architectures of the networks that can be trained, and their computational cost.
//!
//! Input: an architecture's name and the sizes of input and output. Output: an [`Architecture`]. Invariants: no weights
//! are held here.

use super::network::statistics::StatisticsShape;

/// The number of convolutions with stride 2 over frames and bands; later ones have stride 2 over bands only.
const FRAME_STRIDES: usize = 3;

/// A network architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NetworkKind {
    /// Statistics of the cepstrum over time, followed by dense layers
    Dense,
    /// 2-D convolutions, residual blocks with channel attention, attentive and second-order pooling
    Cnn,
    /// Pooled frames of a frozen encoder, followed by dense layers
    #[value(skip)]
    Encoder,
}

impl NetworkKind {
    /// Returns the name of the architecture in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Cnn => "cnn",
            Self::Encoder => "encoder",
        }
    }
}

/// The shape of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// The number of frames in a window.
    pub frames: usize,
    /// The number of values per frame after the front stage: mel bands for the CNN, cepstral coefficients for the dense net.
    pub bands: usize,
    /// The number of labels.
    pub labels: usize,
    /// The layers between input and labels.
    pub body: Body,
}

/// The layers of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// See [`super::network::Dense`].
    Dense(DenseShape),
    /// See [`super::network::Cnn`].
    Cnn(CnnShape),
    /// See [`super::network::Head`].
    Head(HeadShape),
}

/// Dense layers on a frozen encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadShape {
    /// The width of a frame, or of an embedding that the encoder's graph has pooled.
    pub width: usize,
    /// The number of hidden units of the attention over frames; `None` for embeddings, which are pooled already.
    pub attention: Option<usize>,
    /// The number of hidden units; 0 for no hidden layer.
    pub hidden: usize,
}

/// Statistics pooling, one hidden layer and an output layer.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseShape {
    /// The statistics of a window.
    pub statistics: StatisticsShape,
    /// The number of hidden units.
    pub hidden: usize,
}

/// 2-D convolutions, residual blocks over frames, two pooling layers and an output layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CnnShape {
    /// The convolutions over frames and bands, in order.
    pub blocks: Vec<BlockShape>,
    /// The number of channels after the bands are folded into the channels.
    pub width: usize,
    /// The number of residual blocks over frames.
    pub residuals: usize,
    /// The kernel size of a residual block, in frames; odd.
    pub kernel: usize,
    /// The number of units of the squeeze layer in channel attention.
    pub squeeze: usize,
    /// The number of hidden units of the attention over time.
    pub attention: usize,
    /// The number of channels whose products are pooled.
    pub second_order: usize,
    /// The number of units that the products are projected to.
    pub projection: usize,
}

/// The shape of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// The number of input channels.
    pub channels_in: usize,
    /// The number of output channels.
    pub channels_out: usize,
    /// The kernel size over frames and bands.
    pub kernel: [usize; 2],
    /// The stride over frames and bands.
    pub stride: [usize; 2],
    /// The zero padding of frames and bands, on each side.
    pub padding: [usize; 2],
}

impl BlockShape {
    /// Creates a convolution whose output `i` is centred on input `i * stride` (`padding = kernel / 2`); `kernel` is odd.
    pub fn centred(channels: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> Self {
        let padding = [kernel[0] / 2, kernel[1] / 2];
        Self { channels_in: channels[0], channels_out: channels[1], kernel, stride, padding }
    }

    /// Returns the number of frames and bands of the output for an input of `size`.
    pub fn out(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| (size[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1)
    }

    fn operations(&self, size: [usize; 2]) -> usize {
        let [frames, bands] = self.out(size);
        2 * frames * bands * self.channels_out * self.channels_in * self.kernel[0] * self.kernel[1]
    }
}

/// The configurable sizes of a network; each architecture uses its own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sizes {
    /// Dense: the number of hidden units.
    pub hidden: usize,
    /// CNN: the number of channels of each convolution over frames and bands.
    pub channels: Vec<usize>,
    /// CNN: the number of channels in the residual blocks.
    pub width: usize,
    /// CNN: the number of residual blocks.
    pub residuals: usize,
}

impl Default for Sizes {
    /// The defaults cost 48 MFLOP per window of 297 frames and 64 bands for the CNN, and 3 MFLOP per window of 24
    /// coefficients for the dense net.
    fn default() -> Self {
        Self { hidden: 320, channels: vec![16, 32, 48, 64], width: 128, residuals: 2 }
    }
}

impl Architecture {
    /// Creates a dense architecture.
    pub fn dense(statistics: StatisticsShape, labels: usize, sizes: &Sizes) -> Self {
        let (frames, bands) = (statistics.frames, statistics.coefficients);
        let body = Body::Dense(DenseShape { statistics, hidden: sizes.hidden });
        Self { frames, bands, labels, body }
    }

    /// Creates a CNN architecture for windows of `frames` by `bands`.
    pub fn cnn([frames, bands]: [usize; 2], labels: usize, sizes: &Sizes) -> Self {
        Self { frames, bands, labels, body: Body::Cnn(CnnShape::new(sizes)) }
    }

    /// Creates the architecture of a head on `frames` frames of an encoder; 1 frame is a pooled embedding.
    pub fn head(frames: usize, head: HeadShape, labels: usize) -> Self {
        Self { frames, bands: head.width, labels, body: Body::Head(head) }
    }

    /// Returns the floating-point operations per window of convolutions, dense layers and matrix products; a multiplication
    /// and an addition count as two. Those of a frozen encoder are not counted.
    pub fn operations(&self) -> usize {
        let size = [self.frames, self.bands];
        match &self.body {
            Body::Dense(shape) => shape.operations(self.labels),
            Body::Cnn(shape) => shape.operations(size, self.labels),
            Body::Head(shape) => shape.operations(self.frames, self.labels),
        }
    }
}

impl DenseShape {
    fn operations(&self, labels: usize) -> usize {
        self.statistics.operations() + 2 * self.hidden * (self.statistics.width() + labels)
    }
}

impl HeadShape {
    /// Returns the number of pooled values.
    pub fn pooled(&self) -> usize {
        if self.attention.is_some() { 2 * self.width } else { self.width }
    }

    fn operations(&self, frames: usize, labels: usize) -> usize {
        let attention = self.attention.map_or(0, |units| 4 * frames * self.width * units);
        let dense = match self.hidden {
            0 => self.pooled() * labels,
            hidden => hidden * (self.pooled() + labels),
        };
        attention + 2 * dense
    }
}

impl CnnShape {
    fn new(sizes: &Sizes) -> Self {
        let block = |(index, &channels_out): (usize, &usize)| {
            let channels_in = if index == 0 { 1 } else { sizes.channels[index - 1] };
            let kernel = if index == 0 { [5, 5] } else { [3, 3] };
            // Strides come early because neighbouring frames overlap and the early feature maps cost the most. Pooling after
            // each convolution was the alternative; it computes four times as many values and discards them.
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

    /// Returns the number of frames and bands after all convolutions over frames and bands.
    pub fn map_size(&self, size: [usize; 2]) -> [usize; 2] {
        self.blocks.iter().fold(size, |size, block| block.out(size))
    }

    /// Returns the convolution that folds all bands of a frame into its channels.
    pub fn fold(&self, bands: usize) -> BlockShape {
        let channels_in = self.blocks.last().map_or(1, |block| block.channels_out);
        let (kernel, stride, padding) = ([1, bands], [1, 1], [0, 0]);
        BlockShape { channels_in, channels_out: self.width, kernel, stride, padding }
    }

    /// Returns the convolution of a residual block.
    pub fn residual(&self) -> BlockShape {
        BlockShape::centred([self.width; 2], [self.kernel, 1], [1, 1])
    }

    /// Returns the number of pooled values: mean and standard deviation of each channel, and the projected products.
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
