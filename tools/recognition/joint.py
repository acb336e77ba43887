"""The large network: the encoder with its heads, and a convolutional network, on the same windows.

Input: windows `[batch, 298, 80]` of log-mel bands, rows of exactly 0.0 without audio. Output: logits `[batch, 6]`, the mean of both, and
both embeddings, one behind the other. Invariant: both were trained by themselves.
"""

import torch
from torch import nn


class Joint(nn.Module):
    def __init__(self, large, small):
        super().__init__()
        self.large, self.small = large, small

    def forward(self, features):
        parts = [self.large(features), self.small(features)]
        logits, embeddings = zip(*parts)
        return (logits[0] + logits[1]) / 2, torch.cat(embeddings, 1)
