"""Generates metrics.json: clips with random probabilities, and their metrics by scikit-learn and NumPy.

Made with Python 3.11, scikit-learn 1.9.1, numpy 2.4.6. Run: python3 make.py > metrics.json
"""

import json

import numpy as np
from sklearn.metrics import (accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score,
                             precision_recall_fscore_support)

LABELS = ["anger", "fear", "neutral", "sadness", "surprise"]
BINS = 15


def case(seed, clips, classes_in_truth):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes_in_truth, clips)
    logits = random.normal(size=(clips, len(LABELS))) + 1.5 * np.eye(len(LABELS))[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = probabilities.astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    every = list(range(len(LABELS)))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=every, zero_division=0)
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * BINS).astype(int), 1, BINS)
    error = sum(
        abs(confidence[bins == b].mean() - (predicted == truth)[bins == b].mean()) * (bins == b).mean()
        for b in range(1, BINS + 1) if (bins == b).any())
    return {
        "labels": LABELS, "truth": truth.tolist(),
        "probabilities": [[float(f"{p:.9g}") for p in row] for row in probabilities],
        "accuracy": accuracy_score(truth, predicted),
        "unweighted_average_recall": balanced_accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro"),
        "confusion_matrix": confusion_matrix(truth, predicted, labels=every).tolist(),
        "precision": precision.tolist(), "recall": recall.tolist(), "f1": f1.tolist(),
        "support": support.tolist(), "expected_calibration_error": error,
    }


print(json.dumps([case(1, 60, 5), case(2, 40, 4), case(3, 7, 2)]))
