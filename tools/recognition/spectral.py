"""Random changes of log-mel windows during training: tempo, vocal tract, channel, noise, dynamic range and missing cells.

Input: windows `[batch, frames, bands]` of natural logarithms, rows of exactly 0.0 without audio. Output: windows of the same
shape. Invariant: rows without audio stay behind the audio and exactly 0.0.
"""

import math

import torch

DECIBEL = math.log(10) / 10


class Spectral:
    """Draws from its own generator, so that the same seed gives the same windows."""

    def __init__(self, seed, strength=1.0):
        self.generator, self.strength = torch.Generator().manual_seed(seed), strength

    def uniform(self, low, high, *shape):
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def chosen(self, count, probability):
        """Returns which windows a change applies to, `[batch, 1, 1]`."""
        return (self.uniform(0, 1, count, 1, 1) < probability * self.strength).float()

    def __call__(self, windows):
        cells, valid = self.tempo(windows)
        cells = self.tract(cells)
        top = torch.where(valid > 0, cells, -50.0).amax((1, 2), keepdim=True)
        active = (cells.amax(2, keepdim=True) > top - 30 * DECIBEL).float() * valid
        cells = self.channel(self.style(cells, active), active)
        cells = self.silence(self.noise(cells, active), active)
        return self.masked(cells, active) * valid

    def tempo(self, windows):
        """Stretches time by 0.8 to 1.25 with linear interpolation."""
        batch, frames, bands = windows.shape
        count = (windows.abs().amax(2) > 0).sum(1)
        factor = torch.exp(self.uniform(-0.22, 0.22, batch, 1)) * 1.0
        factor = torch.where(self.chosen(batch, 0.5)[:, 0] > 0, factor, torch.ones(batch, 1))
        at = torch.arange(frames).float() * factor
        valid = (at <= count[:, None] - 1).float().unsqueeze(2)
        at = torch.minimum(at, (count[:, None] - 1).clamp(min=0).float())
        low = at.floor().long().clamp(max=frames - 2)
        part = (at - low).unsqueeze(2)
        gather = lambda index: torch.gather(windows, 1, index.unsqueeze(2).expand(-1, -1, bands))
        above = torch.minimum(low + 1, (count[:, None] - 1).clamp(min=0))
        return gather(low) * (1 - part) + gather(above) * part, valid

    def tract(self, cells):
        """Stretches the bands by 0.92 to 1.09, as a vocal tract of another length does."""
        batch, frames, bands = cells.shape
        factor = torch.exp(self.uniform(-0.085, 0.085, batch, 1) * self.chosen(batch, 0.4)[:, 0])
        at = (torch.arange(bands).float() * factor).clamp(max=bands - 1.001)
        low = at.floor().long()
        part = (at - low).unsqueeze(1)
        gather = lambda index: torch.gather(cells, 2, index.unsqueeze(1).expand(-1, frames, -1))
        return gather(low) * (1 - part) + gather(low + 1) * part

    def style(self, cells, active):
        """Moves each band's mean and deviation towards those of another window (MixStyle, Zhou et al. 2021)."""
        batch = len(cells)
        count = active.sum(1, keepdim=True).clamp(min=1)
        mean = (cells * active).sum(1, keepdim=True) / count
        deviation = torch.sqrt(((cells - mean) ** 2 * active).sum(1, keepdim=True) / count + 0.01)
        other = torch.randperm(batch, generator=self.generator)
        share = self.chosen(batch, 0.4) * self.uniform(0, 1, batch, 1, 1)
        scale = 1 + share * (deviation[other] / deviation - 1).clamp(-0.5, 1)
        return (cells - mean) * scale + mean + share * (mean[other] - mean)

    def channel(self, cells, active):
        """Adds a smooth random curve over the bands: a tilt and four cosines."""
        batch, _, bands = cells.shape
        place = torch.linspace(-1, 1, bands)
        waves = torch.stack([place, *(torch.cos(math.pi * k * (place + 1) / 2) for k in (1, 2, 3, 4))])
        sizes = torch.randn(batch, 5, generator=self.generator) * torch.tensor([3.0, 2, 2, 2, 2]) * DECIBEL
        return cells + (sizes @ waves).unsqueeze(1) * self.chosen(batch, 0.5)

    def noise(self, cells, active):
        """Adds steady noise with a random smooth spectrum, 5 to 45 dB below the speech."""
        batch, frames, bands = cells.shape
        count = active.sum((1, 2)).clamp(min=1)[:, None, None] * bands
        level = torch.log((torch.exp(cells) * active).sum((1, 2), keepdim=True) / count + 1e-10)
        place = torch.linspace(-1, 1, bands)
        shape = torch.randn(batch, 1, 1, generator=self.generator) * 8 * place
        shape = shape + torch.randn(batch, 1, 1, generator=self.generator) * 4 * torch.cos(math.pi * place)
        ratio = -self.uniform(5, 45, batch, 1, 1)
        jitter = torch.log(-torch.log(self.uniform(1e-4, 1, batch, frames, bands)) + 0.05) * 0.7
        noisy = torch.logaddexp(cells, level + (ratio + shape) * DECIBEL + jitter)
        return torch.where(self.chosen(batch, 0.4) > 0, noisy, cells)

    def silence(self, cells, active):
        """Limits the dynamic range to 40 to 75 dB, or sets the frames 25 to 50 dB below the loudest to digital silence."""
        batch = len(cells)
        top = cells.amax((1, 2), keepdim=True)
        limited = torch.maximum(cells, top - self.uniform(40, 75, batch, 1, 1) * DECIBEL)
        cells = torch.where(self.chosen(batch, 0.3) > 0, limited, cells)
        peak = cells.amax(2, keepdim=True)
        closed = (peak < top - self.uniform(25, 50, batch, 1, 1) * DECIBEL).float() * self.chosen(batch, 0.25)
        return cells * (1 - closed) + (top - 100 * DECIBEL) * closed

    def masked(self, cells, active):
        """Sets up to 10 % of the bands and two spans of up to 150 ms to the band's mean."""
        batch, frames, bands = cells.shape
        mean = (cells * active).sum(1, keepdim=True) / active.sum(1, keepdim=True).clamp(min=1)
        span = lambda size, most: self.spans(batch, size, most)
        hidden = torch.maximum(span(frames, 15), span(frames, 15)).unsqueeze(2)
        hidden = torch.maximum(hidden.expand(-1, -1, bands), span(bands, bands // 10).unsqueeze(1).expand(-1, frames, -1))
        return torch.where(hidden * self.chosen(batch, 0.5) > 0, mean, cells)

    def spans(self, batch, size, most):
        length = self.uniform(0, most, batch, 1)
        start = self.uniform(0, 1, batch, 1) * (size - length)
        place = torch.arange(size).float()
        return ((place >= start) & (place < start + length)).float()
