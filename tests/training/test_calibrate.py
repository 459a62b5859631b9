"""The threshold lets through the stated share of healthy pixels, and no more."""

import numpy as np
import pytest

from medzsad.training import calibrate as module
from medzsad.training.calibrate import FALSE_PIXELS, Scores, calibrate
from medzsad.training.embedded.auxiliary import AuxiliarySet
from tests.detectors import BrightnessDetector


def test_the_stated_share_of_healthy_pixels_reaches_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((20, 30, 30)).astype(np.float32)
    masks = np.zeros(maps.shape, np.bool_)
    masks[10:, 5:9, 5:9] = True
    labels = masks.any(axis=(1, 2))
    scores = Scores(maps, masks, maps.max(axis=(1, 2)), labels)
    monkeypatch.setattr(module, "collect", lambda *_: scores)
    nothing = AuxiliarySet.__new__(AuxiliarySet)
    monkeypatch.setattr(module, "_auxiliary", lambda *_: iter(()))
    found = calibrate(BrightnessDetector(), nothing, "tissue")
    healthy = maps[~labels]
    assert (healthy >= found.threshold).mean() == pytest.approx(FALSE_PIXELS, abs=2e-4)
    assert "0.5 % of the pixels of 10 generated images" in found.provenance
    assert "No medical image" in found.provenance
