"""Calibration: the temperature of the probabilities, which grows with the distance of a window from the training data, and the
statistics of the logits for the adaptation to a stream.

Input: logits, embeddings and labels of recordings that did not train the network which scored them. Output: base, slope and typical distance
of `export.Calibrated`, and the object `adaptation` of a contract. Invariants: each set of recordings weighs the same, whatever its
size; the slope is not negative.
"""

import numpy as np
from scipy.optimize import minimize

import measure


def distance(embeddings):
    """Returns the logarithm of the mean square of each embedding."""
    return np.log((embeddings**2).mean(1) + 1e-6)


def probabilities(calibration, logits, embeddings):
    base, slope, typical = calibration
    far = np.maximum(0, distance(embeddings) - typical)
    return measure.softmax(logits / np.exp(base + slope * far)[:, None])


def fit(sets, typical):
    """Returns the calibration with the least log loss over `sets` of (logits, embeddings, labels)."""

    def loss(parameters):
        total = 0
        for logits, embeddings, labels in sets:
            likely = probabilities((*parameters, typical), logits, embeddings)[np.arange(len(labels)), labels]
            total -= np.log(np.maximum(likely, 1e-12)).mean()
        return total

    base, slope = minimize(loss, [0.0, 0.1], method="L-BFGS-B", bounds=[(-2, 3), (0, 4)]).x
    return float(base), float(slope), float(typical)


def adaptation(calibration, sets):
    """Returns the means of the logits, and the variance of the logits of one speaker: the mean over speakers and labels.

    The logit of a label is the logarithm of its probability, at least 0.0001, less the mean over the labels. `sets` hold (logits,
    embeddings, speakers).
    """
    means, variances = [], []
    for logits, embeddings, speakers in sets:
        logarithms = np.log(np.maximum(probabilities(calibration, logits, embeddings), 1e-4))
        centred = logarithms - logarithms.mean(1, keepdims=True)
        means.append(centred.mean(0))
        variances.append(np.mean([centred[speakers == speaker].var(0, ddof=1).mean() for speaker in np.unique(speakers)]))
    return {"mean_logits": np.round(np.mean(means, 0), 4).tolist(), "variance": round(float(np.mean(variances)), 4)}
