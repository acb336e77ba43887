"""Training of a convolutional network on CREMA-D with the answers of the encoder's heads, and its outputs.

Input: a network, a front end and the answers for each training clip. Output: the trained network, and its logits and embeddings for parts of
a corpus. Invariants: windows without speech train with the uniform distribution; one thread, so that a seed gives the same file.
"""

import numpy as np
import torch

import recipe
import training
import windows

NO_SPEECH = range(1, 3)  # copies of the windows without speech
SHARES = np.array([1.0, 0.06]) / 1.06  # of clips, and of windows without speech


def train(network, front, answers, options):
    """Returns the network that training leaves, and prints the learning curve of the validation speakers of CREMA-D."""
    load = lambda corpus, copies: [windows.load(corpus, options.roots, front, copy, options.work) for copy in copies]
    pools = [training.Pool(load("crema-d", recipe.COPIES), answers), training.Pool(load("noise", NO_SPEECH))]
    torch.set_num_threads(1)
    curve = lambda network: scored(network, front, "crema-d", options).report()
    return training.train(network, pools, SHARES, seed=options.seed, steps=options.steps, report=curve)


def scored(network, front, corpus, options):
    """Returns the outputs for the validation speakers of a corpus."""
    file = windows.load(corpus, options.roots, front, 0, options.work)
    return recipe.Scored(corpus, "validation", file, lambda kept: training.outputs(network, file["cells"][kept]))


def embeddings(network, front, corpus, copy, options, every=3):
    """Returns the embeddings of every third training window of a copy."""
    file = windows.load(corpus, options.roots, front, copy, options.work)
    rows = np.flatnonzero(windows.may_train(file))[::every]
    return training.outputs(network, file["cells"][rows])[1]
