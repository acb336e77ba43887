"""Calibration: the temperature of the probabilities, which grows with the distance of a window from the training data, the
out-of-domain score, and the mean logits for the adaptation to a stream.

Input: logits, embeddings and labels of recordings that did not train the network which scored them. Output: base, slope and typical distance,
and middle and scale of the out-of-domain score, of `export.Calibrated`. Invariants: each set of recordings weighs the same, whatever its size; the slope is not negative.
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


def domain(sets):
    """Returns middle and scale of the out-of-domain score: 0.5 at the distance below which 95 % of `sets` lie, 0.05 at their median."""
    distances = [distance(embeddings) for _, embeddings, _ in sets]
    values = np.concatenate(distances)
    weights = np.concatenate([np.full(len(it), 1 / len(it)) for it in distances])
    median, middle = np.quantile(values, [0.5, 0.95], weights=weights, method="inverted_cdf")
    return float(middle), float(max(middle - median, 1e-3) / np.log(19))


def mean_logits(calibration, sets):
    """Returns the mean over `sets` of each label's logit: the logarithm of its probability, at least 0.0001, less the mean over the labels."""
    means = []
    for logits, embeddings, _ in sets:
        logarithms = np.log(np.maximum(probabilities(calibration, logits, embeddings), 1e-4))
        means.append((logarithms - logarithms.mean(1, keepdims=True)).mean(0))
    return np.mean(means, 0)
