"""The small network: normalization inside the window, convolutions over time and bands, attentive statistics and a head.

Input: windows `[batch, frames, bands]` of log-mel bands, 297 or 298 frames, rows of exactly 0.0 where a window has no audio. Output:
logits `[batch, 6]` and the embedding. Invariants: the level of a window does not influence anything; frames without audio do not
influence the statistics.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

import normalize

STEPS = 75  # of time after four convolutions, of which two halve it
GROUPS = 4  # groups of channels that share their attention over time
RANGE = 3.5  # dynamic range in decades, relative to the spectrum of speech
CHANNEL = 0.7  # share of a window's own spectrum that is removed


def inverse_transform(bands):
    """Returns the matrix that turns orthonormal cepstra into as many bands."""
    place = math.pi * (torch.arange(bands).double() + 0.5) / bands
    rows = torch.cos(torch.arange(bands).double()[:, None] * place) * math.sqrt(2 / bands)
    rows[0] /= math.sqrt(2)
    return rows.float()


def convolution(inputs, outputs, kernel, stride):
    padding = tuple(size // 2 for size in kernel)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Block(nn.Module):
    """A residual block over time."""

    def __init__(self, width, dilation):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )

    def forward(self, value):
        return value + self.inner(value)


class Small(nn.Module):
    """`bands` is a multiple of 16; `widths` are the channels of the four convolutions over time and bands, `width` those of the others."""

    def __init__(self, bands=64, widths=(24, 28, 40, 56), width=112, dropout=0.2):
        super().__init__()
        self.width = width
        one, two, three, four = widths
        self.bands = nn.Sequential(
            convolution(1, one, (3, 5), (2, 2)), convolution(one, two, (3, 3), (2, 2)),
            convolution(two, three, (3, 3), (1, 2)), convolution(three, four, (3, 3), (1, 2)),
        )  # fmt: skip
        self.join = nn.Sequential(nn.Conv1d(four * bands // 16, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.time = nn.Sequential(Block(width, 1), Block(width, 2))
        self.attention = nn.Conv1d(width, GROUPS, 1)
        self.norm = nn.BatchNorm1d(2 * width, affine=False)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(2 * width, 6)
        self.register_buffer("profile", torch.zeros(bands))
        self.register_buffer("inverse", inverse_transform(bands))

    def embed(self, bands):
        cells, active, valid = normalize.leveled(bands)
        cells = normalize.limited(cells, active, self.profile, RANGE, CHANNEL)
        value = self.bands(((cells - normalize.spectrum(cells, active).mean(2, keepdim=True)) * valid).unsqueeze(1))
        value = self.time(self.join(value.permute(0, 1, 3, 2).flatten(1, 2)))
        steps = active[:, ::4].transpose(1, 2)
        scores = self.attention(value).float() - 1e4 * (1 - steps)
        weights = torch.softmax(scores, 2).unsqueeze(2)
        value = value.float().reshape(-1, GROUPS, self.width // GROUPS, STEPS)
        mean = (value * weights).sum(3)
        deviation = torch.sqrt(((value - mean.unsqueeze(3)) ** 2 * weights).sum(3) + 1e-5)
        pooled = torch.cat([mean, deviation], 2).reshape(-1, 2 * self.width)
        if self.training:
            return self.norm(pooled)
        return (pooled - self.norm.running_mean) / torch.sqrt(self.norm.running_var + self.norm.eps)

    @torch.no_grad()
    def prepare(self, windows):
        """Sets the mean spectrum from windows of the training data."""
        cells, active, _ = normalize.leveled(windows)
        self.profile.copy_(normalize.spectrum(cells, active).mean((0, 1)))

    def forward(self, bands):
        embedding = self.embed(bands)
        return self.head(self.dropout(embedding)), embedding


class OfCepstra(nn.Module):
    """The network with cepstra as input, as affectd computes them."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, cepstra):
        return self.network(cepstra @ self.network.inverse)
