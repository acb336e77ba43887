"""The large network: the encoder's heads and a convolutional network on the same windows.

Input: log-mel windows `[batch, 298, 80]`. Output: the weighted mean of both logits `[batch, 6]`, and the standardized embedding of the
encoder. Invariant: the convolutional network does not influence the embedding, which calibration and out-of-domain score use.
"""

import small
from features import LARGE
from torch import nn

WIDTHS, WIDTH = (32, 40, 56, 72), 144  # channels of the convolutional network
SHARE = 0.4  # weight of the convolutional network's logits


def convolutions():
    """Returns the convolutional network before training."""
    return small.Small(LARGE.bands, WIDTHS, WIDTH)


def mixed(of_heads, of_convolutions):
    """Returns the weighted mean of logits."""
    return (1 - SHARE) * of_heads + SHARE * of_convolutions


class Joint(nn.Module):
    def __init__(self, encoder, convolutions):
        super().__init__()
        self.encoder, self.convolutions = encoder, convolutions

    def forward(self, features):
        logits, embedding = self.encoder(features)
        return mixed(logits, self.convolutions(features)[0]), embedding
