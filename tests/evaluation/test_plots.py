"""The figure of a benchmark has the panels for which there are data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzsad.evaluation.counts import array_tallies
from medzsad.evaluation.curves import Curves, curve_points
from medzsad.evaluation.plots import BenchmarkDrawing, write_plots


def _curves(seed: int) -> Curves:
    random = np.random.default_rng(seed)
    truth = random.random(300) < 0.3
    scores = random.normal(size=300) + truth
    return curve_points(array_tallies(scores, truth), truth.sum(), (~truth).sum())


def _drawing(classes: int, pixel: bool = True, image: bool = True) -> BenchmarkDrawing:
    names = [f"_class {n}" for n in range(classes)]
    labels = np.arange(40) % 2 if image else np.ones(40, np.int64)
    return BenchmarkDrawing(
        title="A set",
        image_scores={name: (np.linspace(0, 1, 40), labels) for name in names},
        pixel={name: _curves(n) for n, name in enumerate(names)} if pixel else {},
        image={name: _curves(n) for n, name in enumerate(names)} if image else {},
    )


@pytest.mark.parametrize(
    ("classes", "pixel", "image", "panels"),
    [(1, True, True, 5), (15, True, True, 5), (1, False, True, 3), (1, True, False, 3)],
)
def test_panels_without_data_are_left_out(tmp_path: Path, classes: int, pixel: bool, image: bool, panels: int) -> None:
    write_plots(tmp_path / "curves.png", _drawing(classes, pixel, image))
    with Image.open(tmp_path / "curves.png") as picture:
        width, height = picture.size
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 50
    columns = round(width / 520)
    rows = round((height - 50) / 460)
    assert (columns, rows) == (min(panels, 3), -(-panels // 3))


def test_constant_scores_can_be_drawn(tmp_path: Path) -> None:
    drawn = BenchmarkDrawing("A set", {"a": (np.full(3, 0.5), np.array([0, 1, 1]))}, {}, {})
    write_plots(tmp_path / "curves.png", drawn)
    assert (tmp_path / "curves.png").stat().st_size > 1000
