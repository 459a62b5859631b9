"""Several weights as one: what their averaged scores are, and what a report says of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medzsad
from medzsad.config import make_config
from medzsad.errors import ConfigError
from medzsad.methods.ensemble import Ensemble, comparable_score
from medzsad.run.pipeline import detect_scan, load_model
from medzsad.weights.store import save_weights
from tests import tiny
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan

SHARP = ((0.2, 0.5), (0.5, 0.05), (0.8, 0.005), (0.9, 0.0005))
FLAT = ((0.1, 0.5), (0.2, 0.05), (0.5, 0.005), (0.6, 0.0005))


def _member(name: str, digit: str, table: tuple[tuple[float, float], ...], size: int = 96) -> Any:
    detector = BrightnessDetector(size)
    detector.card = detector.card.model_copy(update={"name": name, "sha256": digit * 64, "normal_scores": table})
    return detector


def _ensemble(**options: Any) -> Ensemble:
    return Ensemble([_member("sharp", "1", SHARP), _member("flat", "2", FLAT, **options)])


def test_comparable_scores_are_averaged_and_their_spread_is_that_over_the_weights() -> None:
    scan, config = phantom_scan().scan, make_config({"window": "0,1000"})
    ensemble = _ensemble()
    each = [detect_scan(scan, member, config).score for member in ensemble.members]
    wanted = [comparable_score(score, table) for score, table in zip(each, (SHARP, FLAT), strict=True)]
    result = detect_scan(scan, ensemble, config)
    assert np.allclose(result.score, np.mean(wanted, axis=0), atol=1e-5)
    assert result.spread is not None
    assert np.allclose(result.spread, np.std(wanted, axis=0), atol=1e-5)
    assert result.threshold == 0.5
    assert any("sharp + flat" in note for note in result.notes)


def test_members_may_see_images_of_different_sizes() -> None:
    result = detect_scan(phantom_scan().scan, _ensemble(size=64), make_config({"window": "0,1000"}))
    assert result.lesions
    assert [one.index for one in result.slices] == list(range(14))


def test_weights_that_do_not_know_their_normal_scores_cannot_take_part() -> None:
    with pytest.raises(ConfigError, match="do not say which scores normal images get"):
        Ensemble([_member("sharp", "1", SHARP), BrightnessDetector()])


def test_the_same_weights_are_named_once() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        Ensemble([_member("sharp", "1", SHARP), _member("again", "1", SHARP)])


def test_several_weights_files_are_loaded_and_told_in_the_report(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        card = tiny.card(name=name, samples=1, clip_config=tiny.CONFIG, normal_scores=FLAT)
        save_weights(tmp_path / f"{name}.safetensors", tiny.prompts(seed), card, tiny.tower())
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("one", "two")]
    assert isinstance(load_model(make_config({"weights": paths})), Ensemble)
    saved = medzsad.detect(phantom_scan().scan, weights=paths).save(tmp_path / "out")
    text = (saved / "case.json").read_text(encoding="utf-8")
    assert "one + two" in text
    assert '"members"' in (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
