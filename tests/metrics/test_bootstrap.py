"""Resamples draw whole groups, the same ones for the same seed; intervals are percentiles of what is defined."""

import numpy as np
import pytest

from medzsad.metrics.metric import RESAMPLES, interval, resample_weights


def test_patients_are_drawn_whole() -> None:
    weights = resample_weights(["b", "a", "b", "c"], seed=0)
    assert weights.shape == (RESAMPLES, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all()
    assert weights.mean(axis=0) == pytest.approx([1, 1, 1, 1], abs=0.1)
    assert (resample_weights(["b", "a", "b", "c"], seed=0) == weights).all()


def test_an_interval_leaves_out_undefined_resamples_and_needs_half_of_them() -> None:
    samples = np.arange(1001, dtype=np.float64)
    assert interval(samples) == pytest.approx((25, 975))
    samples[:400] = np.nan
    assert interval(samples) == pytest.approx((415, 985))
    samples[:600] = np.nan
    assert interval(samples) is None
    assert interval(np.array([])) is None


def test_one_group_has_no_interval() -> None:
    weights = resample_weights(["a", "a"], seed=0)
    assert weights.shape == (0, 2)
    assert interval(weights @ np.ones(2)) is None
