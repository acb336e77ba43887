"""Training of the small network: balanced sampling of copies, spectral changes, label smoothing and averaged weights.

Input: windows by corpus and copy. Output: a network whose weights are the running average of the trained ones. Invariants:
corpora are drawn with fixed shares, the classes of a corpus with equal ones; windows without speech have the uniform
distribution as target; the same seed gives the same batches.
"""

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

import windows
from spectral import Spectral

CLASSES = 6


@dataclass
class Settings:
    """`decay` is that of the running average of the weights, `smoothing` that of the labels."""

    seed: int
    steps: int
    size: int = 32
    smoothing: float = 0.1
    decay: float = 0.995


class Pool:
    """The training windows of one corpus, several copies of each clip."""

    def __init__(self, files, kind):
        self.copies, self.members, self.labels = [], [], []
        for file in files:
            kept = windows.may_train(file)
            self.copies.append(file[kind][kept])
            self.labels.append(file["label"][kept])
            groups = [np.flatnonzero(self.labels[-1] == label) for label in range(-1, CLASSES)]
            self.members.append([group for group in groups if len(group)])

    def draw(self, rng):
        """Returns a window and its label; copies and labels have equal chances. The label is -1 in a corpus without speech."""
        at = rng.integers(len(self.copies))
        groups = self.members[at]
        group = groups[rng.integers(len(groups))]
        row = group[rng.integers(len(group))]
        return self.copies[at][row], self.labels[at][row]


def batch_of(rng, pools, shares, size):
    """Returns `size` windows and labels."""
    drawn = [pools[at].draw(rng) for at in rng.choice(len(pools), size, p=shares)]
    examples = torch.from_numpy(np.stack([window for window, _ in drawn]).astype(np.float32))
    return examples, torch.tensor([int(label) for _, label in drawn])


def targets_of(labels, smoothing):
    """Returns the target distributions; that of windows without speech is uniform."""
    targets = torch.full((len(labels), CLASSES), smoothing / CLASSES)
    speech = labels >= 0
    targets[speech] += (1 - smoothing) * F.one_hot(labels[speech], CLASSES)
    targets[~speech] = 1 / CLASSES
    return targets


def rate_at(step, steps, warmup=0.1):
    """Returns the factor of the learning rate: a linear rise, then half a cosine."""
    done = step / steps
    return done / warmup if done < warmup else 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def train(network, groups, pools, shares, settings):
    """Trains in place and returns the averaged network. `groups` are parameter groups of AdamW with their highest rates."""
    rng, spectral = np.random.default_rng(settings.seed), Spectral(settings.seed)
    torch.manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    highest = [group["lr"] for group in optimizer.param_groups]
    average, begun, losses = copy.deepcopy(network), time.time(), []
    for step in range(settings.steps):
        for group, rate in zip(optimizer.param_groups, highest):
            group["lr"] = rate * rate_at(step, settings.steps)
        examples, labels = batch_of(rng, pools, shares, settings.size)
        network.train()
        with torch.no_grad():
            examples = spectral(examples)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(examples)[0]
        loss = F.cross_entropy(logits.float(), targets_of(labels, settings.smoothing))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        blend(average, network, min(settings.decay, (1 + step) / (10 + step)))
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}  loss {np.mean(losses[-100:]):.3f}  {time.time() - begun:.0f} s", flush=True)
    return average


@torch.no_grad()
def blend(average, network, decay):
    """Moves the average towards the network; counters are copied."""
    for kept, now in zip(average.state_dict().values(), network.state_dict().values()):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


@torch.no_grad()
def outputs(network, examples, size=64):
    """Returns logits and embeddings of windows."""
    network.eval()
    logits, embeddings = [], []
    for at in range(0, len(examples), size):
        with torch.autocast("cpu", torch.bfloat16):
            found = network(torch.from_numpy(examples[at : at + size].astype(np.float32)))
        logits.append(found[0].float().numpy())
        embeddings.append(found[1].float().numpy())
    return np.concatenate(logits), np.concatenate(embeddings)
