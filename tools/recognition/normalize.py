"""Normalizations inside a window, and the mean over its active frames.

Input: log-mel windows `[batch, frames, bands]` of natural logarithms, rows of exactly 0.0 where a window has no audio.
Invariants: everything is computed from the window alone, so that a window gives the same result beside any others; the level of
a window and the noise between its words have little influence on the result.

In the rebuilt CREMA-D the noise floor depends on the class (5th percentile of the frame energies: -38 dB below the loudest frame
for anger, -21 dB for sadness), and in other corpora it does not. A network that can use the floor answers "anger" for every
clean recording. So the floor is subtracted, and what is left of it lies below the limited range.
"""

import math

import torch
import torch.nn.functional as F

ACTIVE_RANGE = 2.0  # a frame is active within 20 dB (2 decades) of the loudest frame of the window
SMOOTHING = 9  # frames over which the power is averaged before its minimum is taken as the noise floor
SUBTRACTED = 2.0  # multiple of the noise floor that is subtracted
LEAST = 0.01  # share of a cell's power that is left


def power10(values):
    return torch.exp(values * math.log(10))


def decades(features):
    """Returns the cells as decimal logarithms, -30 in rows without audio, and which rows have audio, `[batch, frames, 1]`."""
    valid = (features.abs().amax(2, keepdim=True) > 0).float()
    return features / math.log(10) * valid - 30 * (1 - valid), valid


def cleaned(cells, valid):
    """Subtracts each band's noise floor, the least smoothed power (Boll, 1979)."""
    power = power10(cells) * valid
    smooth = F.avg_pool2d(power.unsqueeze(1), (SMOOTHING, 1), 1, (SMOOTHING // 2, 0), count_include_pad=False).squeeze(1)
    floor = (smooth * valid + 1e30 * (1 - valid)).amin(1, keepdim=True)
    return torch.log10(torch.maximum(power - SUBTRACTED * floor, power * LEAST) + 1e-13)


def activity(cells, valid):
    """Returns the active frames, `[batch, frames, 1]`, and the mean power of these frames in decades, `[batch, 1, 1]`."""
    energy = torch.log10(power10(cells).sum(2, keepdim=True) + 1e-12)
    active = (energy > energy.amax(1, keepdim=True) - ACTIVE_RANGE).float() * valid
    count = active.sum(1, keepdim=True).clamp(min=1)
    power = (power10(energy) * active).sum(1, keepdim=True) / count
    return active, torch.log10(power + 1e-12)


def leveled(features):
    """Returns cells in decades without noise floor, at the same level for all windows, and the active and the valid frames."""
    cells, valid = decades(features)
    cells = cleaned(cells, valid)
    active, power = activity(cells, valid)
    return cells - power, active, valid


def spectrum(cells, active):
    """Returns each band's mean over the active frames, `[batch, 1, bands]`."""
    return (cells * active).sum(1, keepdim=True) / active.sum(1, keepdim=True).clamp(min=1)


def limited(cells, active, profile, dynamic_range, channel):
    """Returns cells relative to `profile`, the mean spectrum of speech, limited to a range below the loudest of them.

    `channel` is the share of the window's own spectrum that is removed.
    """
    cells = cells - profile
    own = spectrum(cells, active)
    cells = cells - channel * (own - own.mean(2, keepdim=True))
    return torch.maximum(cells, cells.amax((1, 2), keepdim=True) - dynamic_range)


def mean(value, steps):
    """Returns the mean of `[batch, steps, width]` over the active steps, `[batch, width]`."""
    return (value * steps).sum(1) / steps.sum(1).clamp(min=1)
