"""Scores as logits and back, and the mean of several logits of a place."""

from dataclasses import dataclass, field

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


@dataclass(slots=True)
class LogitMean:
    """The mean of several scores' logits, voxel by voxel, over those that have scored the voxel.

    Holds one volume, however many scores are added.
    """

    _logits: NDArray[np.float32] | None = field(default=None, repr=False)
    _count: NDArray[np.uint8] | None = field(default=None, repr=False)

    def add(self, logits: NDArray[np.float32], scored: NDArray[np.bool_]) -> None:
        """Takes logits (i, j, k), and where they count: True or False of the same shape, or one that spreads to it.

        The logits belong to the mean from here on and are changed.
        """
        logits *= scored
        if self._logits is None or self._count is None:
            self._logits = logits
            self._count = np.array(np.broadcast_to(scored, logits.shape), np.uint8)
        else:
            self._logits += logits
            self._count += scored

    def score(self) -> NDArray[np.float32]:
        """The scores (i, j, k) of the mean logits, 0 where nothing has scored.

        Raises:
            ValueError: Nothing was added.
        """
        if self._logits is None or self._count is None:
            raise ValueError("Nothing was added.")
        fused = score_of(np.divide(self._logits, np.maximum(self._count, 1), dtype=np.float32))
        fused[self._count == 0] = 0.0
        return fused
