"""A score of how unlike the training speech a window is: the log odds of a linear classifier between speech and sounds without
speech (outlier exposure, Hendrycks et al. 2019).

Input: embeddings of training windows, with and without speech. Output: weights and bias; the score is above 0 where a window
is more like noise, tones, music and babble than 95 % of the speech of other speakers, in each of several corpora. Invariant: the
classifier does not depend on the emotions.
"""

import numpy as np
from scipy.optimize import minimize

PENALTY, QUANTILE = 0.001, 0.95


def fit(speech, no_speech, others):
    """Returns `(weights, bias)`; both kinds weigh the same. `others` are embeddings of speakers that did not train, by corpus."""
    rows = np.concatenate([speech, no_speech]).astype(np.float64)
    sign = np.concatenate([-np.ones(len(speech)), np.ones(len(no_speech))])
    share = np.where(sign < 0, 0.5 / len(speech), 0.5 / len(no_speech))

    def loss(parameters):
        margin = sign * (rows @ parameters[:-1] + parameters[-1])
        slope = -share * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        penalty = PENALTY * (parameters[:-1] ** 2).sum()
        gradient = np.append(rows.T @ slope + 2 * PENALTY * parameters[:-1], slope.sum())
        return (share * np.logaddexp(0, -margin)).sum() + penalty, gradient

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights, bias = found[:-1], found[-1]
    return weights, bias - max(np.quantile(values @ weights + bias, QUANTILE) for values in others)
