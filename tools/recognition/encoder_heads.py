"""The encoder of the large model with its heads: training, answers for the clips that train, and outputs.

Input: cached embeddings of CREMA-D. Output: the network, a distribution for each training clip, and its logits and embeddings for parts of a
corpus. Invariant: the encoder is frozen.
"""

from dataclasses import dataclass

import numpy as np
import torch

import embeddings
import heads
import measure
import recipe
import windows

FOLDS, FOLD_SEED, FIRST_HEAD_SEED = 7, 5, 100  # of `answers_of_others`: groups of speakers, their drawing, and the heads of the first group


@dataclass
class Rows:
    """The embeddings of the training windows of all copies."""

    values: np.ndarray
    labels: np.ndarray
    clips: np.ndarray  # numbers from 0, the same in all copies
    speakers: np.ndarray

    def of(self, kept):
        return Rows(self.values[kept], self.labels[kept], self.clips[kept], self.speakers[kept])


def load(network, corpus, copy, options):
    return embeddings.load(network, corpus, options.roots, copy, options.work)


def rows_of(network, options):
    parts = []
    for copy in recipe.COPIES:
        file, values = load(network, "crema-d", copy, options)
        kept = windows.may_train(file)
        clips = np.unique(file["clip"][kept], return_inverse=True)[1]
        parts.append((values[kept], file["label"][kept], clips, file["speaker"][kept]))
    return Rows(*map(np.concatenate, zip(*parts)))


def train(network, rows, options, seed):
    no_speech = load(network, "noise", 1, options)[1]
    heads.train(network, rows.values, rows.labels, no_speech, seed)
    return network.eval()


def trained(options):
    """Returns the network with trained heads."""
    network = embeddings.network(options.roots, options.work)
    return train(network, rows_of(network, options), options, options.seed)


@torch.no_grad()
def outputs(network, values):
    """Returns logits and standardized embeddings."""
    return tuple(part.numpy() for part in network.classify(torch.from_numpy(values)))


def answers(network, options):
    """Returns the distribution for each training clip of CREMA-D: that of its mean logits over all copies."""
    rows = rows_of(network, options)
    return of_clips(outputs(network, rows.values)[0], rows.clips)


def answers_of_others(options):
    """Returns the distribution for each training clip of CREMA-D, from heads that were trained without its speaker.

    Such heads cannot have learned the label of the clip by heart. The result does not depend on `options.seed`.
    """
    network = embeddings.network(options.roots, options.work)
    rows = rows_of(network, options)
    speakers = np.random.default_rng(FOLD_SEED).permutation(np.unique(rows.speakers))
    fold_of = {speaker: index % FOLDS for index, speaker in enumerate(speakers)}
    folds = np.array([fold_of[speaker] for speaker in rows.speakers])
    logits = np.zeros((len(folds), measure.CLASSES), np.float32)
    for fold in range(FOLDS):
        train(network, rows.of(folds != fold), options, FIRST_HEAD_SEED + fold)
        logits[folds == fold] = outputs(network, rows.values[folds == fold])[0]
    return of_clips(logits, rows.clips)


def of_clips(logits, clips):
    """Returns the distribution of the mean logits of each clip."""
    sums = np.zeros((clips.max() + 1, measure.CLASSES))
    np.add.at(sums, clips, logits)
    return measure.softmax(sums / np.bincount(clips)[:, None])
