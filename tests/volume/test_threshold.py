"""The threshold: who chose it, and which voxels reach it."""

import numpy as np
import pytest

from medzsad.errors import ConfigError
from medzsad.volume.threshold import apply_threshold, resolve_threshold


def test_a_score_equal_to_the_threshold_reaches_it() -> None:
    score = np.array([0.0, 0.69999, 0.7, 1.0], dtype=np.float32)
    assert apply_threshold(score, 0.7).tolist() == [False, False, True, True]


def test_what_the_user_gives_overrides_the_weights() -> None:
    assert resolve_threshold(0.25, 0.5, "BrainMRI, F1") == (0.25, "given by the user")
    assert resolve_threshold(0.0, 0.5, "BrainMRI, F1") == (0.0, "given by the user")


def test_the_calibrated_threshold_comes_with_its_provenance() -> None:
    assert resolve_threshold(None, 0.5, "BrainMRI, F1") == (0.5, "BrainMRI, F1")


def test_no_threshold_at_all_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="--threshold"):
        resolve_threshold(None, None, "")


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_threshold_outside_zero_to_one_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        resolve_threshold(value, 0.5, "")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        resolve_threshold(None, value, "somewhere")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        apply_threshold(np.zeros(3, dtype=np.float32), value)
