//! Shapes of the networks that can be trained, and what they cost.
//!
//! In: the name of an architecture and the sizes of input and output. Out: an [`Architecture`]. Holds no weights.

/// Which kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Statistics over time, then dense layers
    Dense,
    /// Convolutions over time and mel bands, then statistics over time and dense layers
    Cnn,
}

/// The shape of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Convolutions, in order.
    pub blocks: Vec<BlockShape>,
    /// Bands of a frame at the first block.
    pub bands: usize,
    /// Frames of a window.
    pub frames: usize,
    /// Widths of the dense layers between statistics and labels.
    pub hidden: Vec<usize>,
    /// Number of labels.
    pub labels: usize,
}

/// The shape of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// Channels that come in.
    pub channels_in: usize,
    /// Channels that go out.
    pub channels_out: usize,
    /// Frames and bands under the kernel, both odd.
    pub kernel: [usize; 2],
    /// Steps over frames and bands.
    pub stride: [usize; 2],
}

impl BlockShape {
    /// Zeros around the input, so that output `i` is centred on input `i * stride`.
    pub fn padding(&self) -> [usize; 2] {
        [self.kernel[0] / 2, self.kernel[1] / 2]
    }

    fn out(&self, size: [usize; 2]) -> [usize; 2] {
        [size[0].div_ceil(self.stride[0]), size[1].div_ceil(self.stride[1])]
    }
}

impl Architecture {
    /// The network of a kind for windows of `frames` by `bands`.
    pub fn new(kind: Kind, frames: usize, bands: usize, labels: usize) -> Self {
        let block = |channels_in, channels_out, kernel, stride| BlockShape {
            channels_in,
            channels_out,
            kernel,
            stride,
        };
        let (blocks, hidden) = match kind {
            Kind::Dense => (Vec::new(), vec![256, 128]),
            // Coarse at once: neighbouring frames overlap, and the early maps cost most.
            Kind::Cnn => (
                vec![
                    block(1, 16, [5, 5], [3, 2]),
                    block(16, 32, [3, 3], [2, 2]),
                    block(32, 48, [3, 3], [2, 2]),
                ],
                vec![64],
            ),
        };
        Self { blocks, bands, frames, hidden, labels }
    }

    /// Statistics, hidden layers, labels.
    pub fn layer_widths(&self) -> Vec<usize> {
        std::iter::once(self.statistics()).chain(self.hidden.iter().copied()).chain([self.labels]).collect()
    }

    /// Width of the statistics: mean and deviation of each channel and band.
    pub fn statistics(&self) -> usize {
        let bands = self.sizes().last().map_or(self.bands, |size| size[1]);
        2 * bands * self.blocks.last().map_or(1, |block| block.channels_out)
    }

    /// Floating-point operations of one window, a multiplication and an addition as two; convolutions and dense layers.
    pub fn operations(&self) -> usize {
        let convolutions: usize = self
            .blocks
            .iter()
            .zip(self.sizes())
            .map(|(block, size)| {
                let kernel = block.channels_in * block.kernel[0] * block.kernel[1];
                2 * size[0] * size[1] * block.channels_out * kernel
            })
            .sum();
        let dense: usize = self.layer_widths().windows(2).map(|pair| 2 * pair[0] * pair[1]).sum();
        convolutions + dense
    }

    /// Frames and bands behind each block.
    fn sizes(&self) -> Vec<[usize; 2]> {
        let mut size = [self.frames, self.bands];
        self.blocks
            .iter()
            .map(|block| {
                size = block.out(size);
                size
            })
            .collect()
    }
}
