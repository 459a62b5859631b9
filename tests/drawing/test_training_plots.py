"""The figure of a training shows what was measured, and is written without a display."""

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from medzsad.drawing import style
from medzsad.drawing import training_plots as plots
from medzsad.drawing.training_plots import training_plots
from medzsad.errors import ConfigError

FIGURES = ("pixel_ap", "pixel_auroc", "image_ap", "image_auroc")


def epoch(number: int, stage: int, level: float, **changes: Any) -> dict[str, Any]:
    figures = dict.fromkeys(FIGURES, level) | {"image_ap": None}
    return {
        "epoch": number,
        "stage": stage,
        "step": 10 * number,
        "losses": {"focal": 1 / number} | ({"kl": 30 / number} if stage == 1 else {}),
        "rates": {"prompts" if stage == 1 else "image_head": 1e-3 / number},
        "validation": figures,
        "by_class": {"bolt": figures, "nut": dict.fromkeys(FIGURES)},
        "criterion": level,
        "improved": number % 2 == 0,
        "seconds": 1.0,
    } | changes


HISTORY = [epoch(n, 1 if n < 4 else 2, 0.1 * n) for n in range(1, 7)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []

    class Recorded(Figure):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            figures.append(self)

    monkeypatch.setattr(plots, "Figure", Recorded)
    return figures


def axes_titled(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def test_the_picture_is_1200_pixels_wide_and_holds_more_than_paper() -> None:
    with Image.open(io.BytesIO(training_plots(HISTORY))) as picture:
        assert picture.width == 1200
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_the_same_history_gives_the_same_bytes() -> None:
    assert training_plots(HISTORY) == training_plots(HISTORY)


def test_every_panel_has_a_title_an_axis_name_and_the_switch_of_stages(drawn: list[Figure]) -> None:
    training_plots(HISTORY)
    assert len(drawn[0].axes) == 4
    for axes in drawn[0].axes:
        assert axes.get_title(loc="left")
        assert axes.get_ylabel()
        assert any(list(line.get_xdata()) == [3.5, 3.5] for line in axes.get_lines())
        assert "stage 2" in [text.get_text() for text in axes.texts]


def test_lines_hold_the_numbers_and_gaps_where_there_are_none(drawn: list[Figure]) -> None:
    training_plots(HISTORY)
    lines = {line.get_label(): line for line in axes_titled(drawn[0], "Training losses").get_lines()}
    assert list(lines["focal"].get_ydata()) == pytest.approx([1 / n for n in range(1, 7)])
    assert np.isnan(lines["kl"].get_ydata()).tolist() == [False] * 3 + [True] * 3
    found = {line.get_label() for line in axes_titled(drawn[0], "Validation on").get_lines()}
    assert {"pixel AP", "pixel AUROC", "image AUROC", "criterion"} <= found
    assert "image AP" not in found
    by_class = {line.get_label() for line in axes_titled(drawn[0], "Validation pixel AP").get_lines()}
    assert "bolt" in by_class
    assert "nut" not in by_class


def test_epochs_that_were_kept_are_marked(drawn: list[Figure]) -> None:
    training_plots(HISTORY)
    stars = axes_titled(drawn[0], "Validation on").collections[0].get_offsets()
    assert np.asarray(stars).tolist() == pytest.approx(np.array([[n, 0.1 * n] for n in (2, 4, 6)]))


def test_epochs_counted_anew_in_the_second_stage_stand_behind_the_first(drawn: list[Figure]) -> None:
    training_plots([epoch(1, 1, 0.1), epoch(2, 1, 0.2), epoch(1, 2, 0.3)])
    line = axes_titled(drawn[0], "Training losses").get_lines()[0]
    assert list(line.get_xdata()) == [1, 2, 3]


def test_a_training_of_one_epoch_without_validation_is_drawn(drawn: list[Figure]) -> None:
    none = dict.fromkeys(FIGURES)
    training_plots([epoch(1, 1, 0, validation=none, by_class={}, criterion=None)])
    assert "nothing was measured" in [text.get_text() for text in axes_titled(drawn[0], "Validation on").texts]


def test_a_training_without_epochs_is_refused() -> None:
    with pytest.raises(ConfigError, match="no epoch"):
        training_plots([])


def test_colors_are_distinct_and_of_different_lightness() -> None:
    rgb = [tuple(int(color[n : n + 2], 16) for n in (1, 3, 5)) for color in style.COLORS]
    lightness = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in rgb)
    assert len(set(rgb)) == len(rgb)
    assert lightness[-1] - lightness[0] > 100


def test_no_display_and_no_global_state_of_matplotlib_is_needed() -> None:
    code = "import sys, medzsad.drawing.training_plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
