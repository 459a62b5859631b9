"""Kept scores are there after an interruption, and refused when made otherwise."""

import os
from pathlib import Path

import numpy as np
import pytest

from medzsad.errors import ConfigError, OutputError
from medzsad.evaluation.protocol import RawScore
from medzsad.evaluation.score_cache import KeptScores

KEY = {"weights": "a", "seed": 0}
RAW = RawScore(0.25, 0.125, 1 / 3)


def _image(folder: Path, name: str = "a, b.png") -> Path:
    path = folder / name
    path.write_bytes(b"pixels")
    return path


def test_scores_and_maps_come_back(tmp_path: Path) -> None:
    image = _image(tmp_path)
    values = np.random.default_rng(0).random((17, 17)).astype(np.float32) ** 8
    volume = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)
    kept = KeptScores(tmp_path / "out", KEY)
    kept.add("x/a, b.png", image, RAW, values)
    kept.add("volume", image, RAW, volume)
    again = KeptScores(tmp_path / "out", KEY)
    assert again.find("x/a, b.png", image) == RAW
    assert np.allclose(again.read_map("x/a, b.png"), values, rtol=0.01, atol=1e-10)
    assert np.allclose(again.read_map("x/a, b.png"), values, atol=4e-5)
    assert np.allclose(again.read_map("volume"), volume, atol=4e-5)
    assert again.find("other", image) is None


def test_the_order_of_scores_is_kept(tmp_path: Path) -> None:
    values = np.sort(np.random.default_rng(0).random((32, 32)).astype(np.float32).ravel()).reshape(32, 32)
    kept = KeptScores(tmp_path / "out", KEY)
    kept.add("a", _image(tmp_path), RAW, values)
    assert (np.diff(kept.read_map("a").ravel()) >= 0).all()


def test_a_changed_image_has_no_kept_score(tmp_path: Path) -> None:
    image = _image(tmp_path)
    kept = KeptScores(tmp_path / "out", KEY)
    kept.add("a", image, RAW, np.zeros((3, 3), np.float32))
    image.write_bytes(b"other pixels")
    assert kept.find("a", image) is None
    kept.add("a", image, RAW, np.zeros((3, 3), np.float32))
    assert KeptScores(tmp_path / "out", KEY).find("a", image) == RAW
    os.utime(image, (1, 1))
    assert kept.find("a", image) is None


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    image = _image(tmp_path)
    kept = KeptScores(tmp_path / "out", KEY)
    for name in ("a", "b"):
        kept.add(name, image, RAW, np.zeros((3, 3), np.float32))
    table = tmp_path / "out" / "scores.csv"
    table.write_bytes(table.read_bytes()[:-9])
    again = KeptScores(tmp_path / "out", KEY)
    assert again.find("a", image) == RAW
    assert again.find("b", image) is None
    again.add("c", image, RAW, np.zeros((3, 3), np.float32))
    assert KeptScores(tmp_path / "out", KEY).find("c", image) == RAW


def test_a_score_without_its_map_counts_as_missing(tmp_path: Path) -> None:
    image = _image(tmp_path)
    kept = KeptScores(tmp_path / "out", KEY)
    kept.add("a", image, RAW, np.zeros((3, 3), np.float32))
    for path in (tmp_path / "out" / "maps").iterdir():
        path.unlink()
    assert kept.find("a", image) is None


def test_scores_of_other_weights_are_refused_by_name_of_the_difference(tmp_path: Path) -> None:
    KeptScores(tmp_path / "out", KEY)
    with pytest.raises(ConfigError, match="weights 'a' there, 'b' now"):
        KeptScores(tmp_path / "out", {**KEY, "weights": "b"})
    assert KeptScores(tmp_path / "out", None).key == KEY


def test_a_folder_without_scores_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no kept scores"):
        KeptScores(tmp_path, None)


def test_a_damaged_map_is_an_error_that_names_it(tmp_path: Path) -> None:
    kept = KeptScores(tmp_path / "out", KEY)
    kept.add("a", _image(tmp_path), RAW, np.zeros((30, 30), np.float32))
    (path,) = (tmp_path / "out" / "maps").iterdir()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(OutputError, match=path.name):
        kept.read_map("a")
