"""The figure of a benchmark has the panels for which there are data."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from medzsad.drawing import style
from medzsad.drawing.plots import BenchmarkDrawing, benchmark_plots
from medzsad.metrics.counts import array_tallies
from medzsad.metrics.ranking import Curves, curve_points


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
    (tmp_path / "curves.png").write_bytes(benchmark_plots(_drawing(classes, pixel, image)))
    with Image.open(tmp_path / "curves.png") as picture:
        width, height = picture.size
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 50
    columns = round(width / 520)
    rows = round((height - 50) / 460)
    assert (columns, rows) == (min(panels, 3), -(-panels // 3))


def _drawn_figure(tmp_path: Path, drawn: BenchmarkDrawing, monkeypatch: pytest.MonkeyPatch) -> Figure:
    figures: list[Figure] = []

    def remembered(figure: Figure) -> FigureCanvasAgg:
        figures.append(figure)
        return FigureCanvasAgg(figure)

    monkeypatch.setattr(style, "FigureCanvasAgg", remembered)
    (tmp_path / "curves.png").write_bytes(benchmark_plots(drawn))
    return figures[0]


def _legend(figure: Figure, panel: int) -> list[str]:
    legend = figure.axes[panel].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_legends_name_at_most_six_classes_with_their_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = _drawn_figure(tmp_path, _drawing(8), monkeypatch)
    curves = [_curves(n) for n in range(6)]
    assert _legend(figure, 0) == [f"class {n}, AUROC {100 * one.auroc:.1f} %" for n, one in enumerate(curves)]
    assert _legend(figure, 3) == [f"class {n}, AP {100 * one.average_precision:.1f} %" for n, one in enumerate(curves)]
    assert "6 of 8" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"a$\frac$b", r"a$\frac$b"),
        ("脑b\nc", "?b?c"),
        ("Größe", "Größe"),
        ("a class of a very long name indeed", "a class of a very lon…"),
    ],
)
def test_any_name_can_be_drawn_and_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shown: str) -> None:
    drawn = BenchmarkDrawing(name * 20, {name: (np.linspace(0, 1, 4), np.arange(4) % 2)}, {}, {name: _curves(0)})
    figure = _drawn_figure(tmp_path, drawn, monkeypatch)
    assert _legend(figure, 0)[0].startswith(f"{shown}, AUROC ")
    assert len(figure.get_suptitle()) <= 46 * 3


def test_a_base_rate_is_drawn_where_it_is_known_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = _drawn_figure(tmp_path, _drawing(1), monkeypatch)
    heights = [np.asarray(line.get_ydata()) for line in figure.axes[3].get_lines()]
    assert any(np.allclose(height, _curves(0).base_rate) for height in heights)


def test_bars_are_shares_of_normal_and_of_abnormal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"a": (np.array([0.1, 0.2, 0.9]), np.array([0, 0, 1])), "b": (np.array([0.15, 0.8]), np.array([0, 1]))}
    axes = _drawn_figure(tmp_path, BenchmarkDrawing("A set", scores, {}, {}), monkeypatch).axes[0]
    heights = [bar.get_height() for bar in axes.patches]  # type: ignore[attr-defined]
    assert sum(heights) == pytest.approx(2)
    assert sorted({round(height, 6) for height in heights if height}) == [round(1 / 3, 6), 0.5]


def test_constant_scores_can_be_drawn(tmp_path: Path) -> None:
    drawn = BenchmarkDrawing("A set", {"a": (np.full(3, 0.5), np.array([0, 1, 1]))}, {}, {})
    (tmp_path / "curves.png").write_bytes(benchmark_plots(drawn))
    assert (tmp_path / "curves.png").stat().st_size > 1000
