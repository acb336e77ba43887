"""Log-mel windows as affectd computes them, for both networks.

Input: samples at 16 kHz, full scale 1. Output: windows `[frames, bands]` of natural logarithms, rows of exactly 0.0 where the
window has no audio. Invariants: the front ends are those of `Front.contract`; every frame depends on its own samples only.
"""

import numpy as np

RATE, WINDOW, HOP, SHIFT, LENGTH, FLOOR = 16000, 48000, 16000, 160, 400, 1e-10


class Front:
    """A log-mel front end with `bands` bands between `low` and `high` Hz."""

    def __init__(self, name, input, fft, bands, low, high):
        self.name, self.input = name, input
        self.fft, self.bands, self.low, self.high = fft, bands, low, high
        self.frames = 1 + (WINDOW - fft) // SHIFT
        before = (fft - LENGTH) // 2
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH)
        self.window = np.pad(hann, (before, fft - LENGTH - before)).astype(np.float32)
        self.filters = self.mel_filters()

    def mel_filters(self):
        """Returns Slaney's filters with equal area, `[bands, 1 + fft / 2]`."""
        step = np.log(6.4) / 27
        to_mel = lambda hertz: hertz * 3 / 200 if hertz < 1000 else 15 + np.log(hertz / 1000) / step
        to_hertz = lambda mel: np.where(mel >= 15, 1000 * np.exp(step * (mel - 15)), mel * 200 / 3)
        edges = to_hertz(np.linspace(to_mel(self.low), to_mel(self.high), self.bands + 2))
        distance = edges[:, None] - np.fft.rfftfreq(self.fft, 1 / RATE)[None]
        width = np.diff(edges)
        rising, falling = -distance[:-2] / width[:-1, None], distance[2:] / width[1:, None]
        weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
        return weights.astype(np.float32)

    def log_mel(self, samples):
        """Returns the window that starts with `samples`, of which at most 3 s are used."""
        samples = samples[:WINDOW]
        if len(samples) < self.fft:
            samples = np.pad(samples, (0, self.fft - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.fft)[::SHIFT] * self.window
        spectrum = np.fft.rfft(frames.astype(np.float32))
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        result = np.zeros((self.frames, self.bands), np.float32)
        result[: len(frames)] = np.log(np.maximum(power @ self.filters.T, FLOOR))
        return result

    def contract(self):
        """Returns the object `mfcc` of a contract."""
        return {
            "win_length": LENGTH, "hop_length": SHIFT, "n_fft": self.fft, "window": "hann", "n_mels": self.bands,
            "f_min_hz": self.low, "f_max_hz": self.high, "mel_scale": "slaney", "mel_norm": "slaney", "power": 2.0,
            "log": "ln", "log_floor": FLOOR, "n_mfcc": self.bands, "dct_norm": "ortho", "deltas": 0,
        }  # fmt: skip


LARGE = Front("large", "log_mel", 400, 80, 0.0, 8000.0)
SMALL = Front("small", "mfcc", 512, 64, 20.0, 7400.0)
FRONTS = {front.name: front for front in (LARGE, SMALL)}


def starts(count):
    """Returns the first samples of a clip's full windows; a clip that is shorter than a window has one at 0."""
    return range(0, max(1, count - WINDOW + 1), HOP)
