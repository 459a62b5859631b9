"""The fixed threshold: where it comes from, and which voxels reach it."""

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ConfigError

GIVEN_BY_USER = "given by the user"


def resolve_threshold(override: float | None, calibrated: float | None, provenance: str) -> tuple[float, str]:
    """The threshold to use, and who chose it.

    Args:
        override: What the user asked for, or None.
        calibrated: What the weights file holds, or None.
        provenance: The data and the criterion that chose `calibrated`.

    Raises:
        ConfigError: Neither is there, or the one to use is outside [0, 1].
    """
    if override is not None:
        return _checked(override, GIVEN_BY_USER), GIVEN_BY_USER
    if calibrated is None:
        raise ConfigError(
            "The weights hold no threshold and none was given, so scores cannot become a mask. "
            "Pass --threshold with a score between 0 and 1, or calibrate the weights on data with lesion masks."
        )
    source = provenance or "the weights file, which does not say how it was chosen"
    return _checked(calibrated, source), source


def apply_threshold(score: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """True where the score is at or above the threshold; the threshold is rounded to the score's precision first.

    Args:
        score: Any shape, in [0, 1].
        threshold: In [0, 1].

    Raises:
        ConfigError: The threshold is outside [0, 1] or not a number.
    """
    reached: NDArray[np.bool_] = score >= score.dtype.type(_checked(threshold, "the caller"))
    return reached


def _checked(threshold: float, source: str) -> float:
    if not 0.0 <= threshold <= 1.0:
        raise ConfigError(
            f"The threshold is {threshold} ({source}), but scores lie between 0 and 1. "
            "Pass --threshold with a value in that range."
        )
    return float(threshold)
