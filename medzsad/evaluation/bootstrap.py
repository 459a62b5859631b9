"""Resamples of subjects, and intervals from them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_LEVEL = 0.95


def resample_weights(groups: Sequence[str], seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, units) how often each unit is drawn when groups are drawn with replacement, as many as there are.

    No rows if there is one group only: its resamples are all the same, which is no interval. Two sets of scores of the
    same units get the same draws, so their differences are paired.

    Args:
        groups: Subject of each unit; all units of a subject are drawn together.
        seed: Of the draws.
        resamples: Number of rows.
    """
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return np.empty((0, len(owner)))
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, owner].astype(np.float64)


def interval(samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % percentile interval of a figure's resamples, those left out in which it is not defined.

    Returns:
        None where fewer than half of the resamples define the figure.
    """
    known = samples[np.isfinite(samples)]
    if len(known) * 2 < len(samples) or not len(known):
        return None
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
