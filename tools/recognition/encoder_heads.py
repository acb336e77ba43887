"""The encoder of the large model with its heads: training, answers for the clips that train, and outputs.

Input: cached embeddings of CREMA-D. Output: the network, its mean answer for each training clip, and its logits and embeddings for parts of a
corpus. Invariant: the encoder is frozen.
"""

import numpy as np
import torch

import embeddings
import heads
import measure
import recipe
import windows


def load(network, corpus, copy, options):
    return embeddings.load(network, corpus, options.roots, copy, options.work)


def trained(options):
    """Returns the network with trained heads."""
    network = embeddings.network(options.roots, options.work)
    parts = [load(network, "crema-d", copy, options) for copy in recipe.COPIES]
    speech = np.concatenate([values[windows.may_train(file)] for file, values in parts])
    labels = np.concatenate([file["label"][windows.may_train(file)] for file, _ in parts])
    heads.train(network, speech, labels, load(network, "noise", 1, options)[1], options.seed)
    return network.eval()


@torch.no_grad()
def outputs(network, values):
    """Returns logits and standardized embeddings."""
    return tuple(part.numpy() for part in network.classify(torch.from_numpy(values)))


def answers(network, options):
    """Returns the distribution for each training clip of CREMA-D: that of its mean logits over all copies."""
    total, count = 0, 0
    for copy in recipe.COPIES:
        file, values = load(network, "crema-d", copy, options)
        kept = windows.may_train(file)
        clips = np.unique(file["clip"][kept], return_inverse=True)[1]
        logits = outputs(network, values[kept])[0]
        sums = np.zeros((clips.max() + 1, logits.shape[1]))
        np.add.at(sums, clips, logits)
        total, count = total + sums, count + np.bincount(clips)[:, None]
    return measure.softmax(total / count)
