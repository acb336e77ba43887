"""Training of the heads of the large network on embeddings.

Input: embeddings and labels of CREMA-D's training clips in several copies, and of windows without speech. Output: the heads of the network
and its standardization. Invariants: classes have equal chances; windows without speech have the uniform distribution as
target; each head has its own seed.
"""

import numpy as np
import torch
import torch.nn.functional as F

from measure import CLASSES

STEPS, SIZE, NO_SPEECH, NOISE, SMOOTHING = 1400, 128, 0.05, 0.3, 0.1


def train(network, speech, labels, no_speech, seed):
    """Trains all heads of `network` in place; head `i` has the seed `1000 * seed + i`."""
    network.mean.copy_(torch.from_numpy(speech.mean(0)))
    network.deviation.copy_(torch.from_numpy(speech.std(0) + 0.001))
    standard = lambda values: (torch.from_numpy(values) - network.mean) / network.deviation
    speech, no_speech = standard(speech), standard(no_speech)
    for index, head in enumerate(network.heads):
        train_head(head, speech, labels, no_speech, 1000 * seed + index)
        print(f"head {index} trained", flush=True)


def targets_of(labels):
    """Returns the smoothed target distributions; that of windows without speech, the label -1, is uniform."""
    targets = torch.full((len(labels), CLASSES), SMOOTHING / CLASSES)
    speech = labels >= 0
    targets[speech] += (1 - SMOOTHING) * F.one_hot(labels[speech], CLASSES)
    targets[~speech] = 1 / CLASSES
    return targets


def train_head(head, speech, labels, no_speech, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    for layer in head:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.002, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    classes = [np.flatnonzero(labels == label) for label in range(6)]
    head.train()
    for _ in range(STEPS):
        without = rng.binomial(SIZE, NO_SPEECH)
        drawn = rng.integers(0, 6, SIZE - without)
        rows = [classes[label][int(place * len(classes[label]))] for label, place in zip(drawn, rng.random(len(drawn)))]
        values = torch.cat([speech[rows], no_speech[rng.integers(0, len(no_speech), without)]])
        targets = targets_of(torch.from_numpy(np.concatenate([drawn, np.full(without, -1)])))
        loss = F.cross_entropy(head(values + NOISE * torch.randn(values.shape)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    head.eval()
