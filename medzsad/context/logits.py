"""Scores as logits and back."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as exact_logit

# Scores of 0 and 1 are taken for this far from them.
_NEAREST = 1e-6


def logit_of(score: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(p / (1 - p)), between -14 and 14."""
    return np.asarray(exact_logit(np.clip(score, _NEAREST, 1.0 - _NEAREST)), np.float32)


def score_of(logit: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `logit_of`."""
    return np.asarray(expit(logit), np.float32)
