"""Measures of probabilities by clip."""

import numpy as np

CLASSES = 6


def softmax(logits):
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    return exponent / exponent.sum(1, keepdims=True)


def by_clip(probabilities, clips, labels):
    """Returns the mean probabilities of each clip and its label."""
    _, where, counts = np.unique(clips, return_inverse=True, return_counts=True)
    mean = np.zeros((len(counts), probabilities.shape[1]))
    np.add.at(mean, where, probabilities)
    label = np.zeros(len(counts), int)
    label[where] = labels
    return mean / counts[:, None], label


def recall(probabilities, labels):
    """Returns the unweighted average recall."""
    answers = probabilities.argmax(1)
    return np.mean([(answers[labels == label] == label).mean() for label in np.unique(labels)])


def calibration_error(probabilities, labels, bins=15):
    """Returns the expected calibration error with bins of equal width."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[at == k].sum() - confidence[at == k].sum()) for k in range(bins)]
    return sum(gaps) / len(labels)


def surest_half(probabilities, labels):
    """Returns the accuracy of the half of the clips with the highest confidence."""
    order = np.argsort(-probabilities.max(1))[: len(labels) // 2]
    return (probabilities.argmax(1) == labels)[order].mean()


def summary(probabilities, clips, labels):
    scores, labels = by_clip(probabilities, clips, labels)
    counts = np.bincount(scores.argmax(1), minlength=scores.shape[1]) / len(labels)
    return (
        f"UAR {recall(scores, labels):.3f}  ECE {calibration_error(scores, labels):.3f}  surest half "
        f"{surest_half(scores, labels):.3f}  confidence {scores.max(1).mean():.3f}  answers {np.round(counts, 2).tolist()}"
    )
