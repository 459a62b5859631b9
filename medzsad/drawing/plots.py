"""ROC and precision-recall curves and the distribution of image scores of one benchmark, as one picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from medzsad.drawing.style import COLORS, line_look, open_frame, png_of
from medzsad.metrics.ranking import Curves

_MOST_NAMED = 6  # classes in a legend
_MOST_SIGNS = 22  # of a class name in a legend
_SIGNS_PER_PANEL = 46  # of the title
_PANEL_INCHES, _DPI = 5.2, 100
_BINS, _NARROWEST = 40, 1e-3  # of the histogram: bars, and span of the scores if they are all but equal

Scores = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class BenchmarkDrawing:
    """What is drawn of a benchmark.

    Attributes:
        title: Of the benchmark.
        image_scores: By class: scores, and labels of 0 and 1.
        pixel: By class; classes without pixel labels are missing.
        image: By class; classes of one label only are missing.
        unit: What has one score: "image" or "volume".
    """

    title: str
    image_scores: Mapping[str, Scores]
    pixel: Mapping[str, Curves]
    image: Mapping[str, Curves]
    unit: str = "image"

    @property
    def points(self) -> str:
        """What has one score inside of a unit."""
        return "voxel" if self.unit == "volume" else "pixel"


def benchmark_plots(drawn: BenchmarkDrawing) -> bytes:
    """The plots of a benchmark as PNG; panels without data are left out.

    Args:
        drawn: What to draw.
    """
    panels = _panels(drawn)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(
        figsize=(_PANEL_INCHES * columns, 0.5 + (_PANEL_INCHES - 0.6) * rows), dpi=_DPI, layout="constrained"
    )
    title = _shown(drawn.title, _SIGNS_PER_PANEL * columns)
    figure.suptitle(title, fontsize=14, fontweight="bold", parse_math=False)
    for number, panel in enumerate(panels):
        panel(figure.add_subplot(rows, columns, number + 1))
    return png_of(figure)


def _panels(drawn: BenchmarkDrawing) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    for curves, name in ((drawn.image, drawn.unit), (drawn.pixel, drawn.points)):
        if curves:
            panels.append(lambda axes, c=curves, n=name: _draw_roc(axes, c, f"{n} ROC"))  # type: ignore[misc]
            panels.append(lambda axes, c=curves, n=name: _draw_pr(axes, c, f"{n} precision and recall"))  # type: ignore[misc]
    panels.append(lambda axes: _draw_scores(axes, drawn))
    return panels


def _draw_roc(axes: Axes, curves: Mapping[str, Curves], title: str) -> None:
    for number, (name, one) in enumerate(curves.items()):
        label = _label(name, number, "AUROC", one.auroc)
        axes.plot(one.roc[:, 0], one.roc[:, 1], label=label, **line_look(number, 1.8))
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 3)))
    _dress(axes, title, "false positive rate", "true positive rate", len(curves))


def _draw_pr(axes: Axes, curves: Mapping[str, Curves], title: str) -> None:
    for number, (name, one) in enumerate(curves.items()):
        label = _label(name, number, "AP", one.average_precision)
        # A curve of one point, from a constant score, would be no line.
        marker = "o" if len(one.pr) == 1 else ""
        axes.plot(one.pr[:, 0], one.pr[:, 1], label=label, marker=marker, **line_look(number, 1.8))
        if len(curves) <= 2:
            # The precision of a detector that knows nothing.
            axes.axhline(one.base_rate, color=COLORS[number % len(COLORS)], linewidth=1, linestyle=(0, (4, 3)))
    _dress(axes, title, "recall", "precision", len(curves))


def _draw_scores(axes: Axes, drawn: BenchmarkDrawing) -> None:
    scores = np.concatenate([part[0] for part in drawn.image_scores.values()])
    labels = np.concatenate([part[1] for part in drawn.image_scores.values()]) > 0
    low, high = float(scores.min()), float(scores.max())
    if high - low < _NARROWEST:
        middle = (low + high) / 2
        low, high = middle - _NARROWEST / 2, middle + _NARROWEST / 2
    edges = np.linspace(low, high, _BINS + 1)
    for part, name, color in ((~labels, "normal", COLORS[0]), (labels, "with a lesion", COLORS[1])):
        if part.any():
            share = np.full(int(part.sum()), 1 / part.sum())
            axes.hist(
                scores[part], bins=edges.tolist(), weights=share, color=color, alpha=0.55,
                label=f"{name} ({part.sum()})",
            )  # fmt: skip
    _dress(axes, f"{drawn.unit} scores", "score", f"share of the {drawn.unit}s", 2)
    axes.set_xlim(edges[0], edges[-1])
    axes.autoscale(axis="y")


def _label(name: str, number: int, metric: str, value: float) -> str:
    # matplotlib leaves labels that begin with "_" out of the legend.
    shown = _shown(name, _MOST_SIGNS).lstrip("_")
    return f"{shown}, {metric} {100 * value:.1f} %" if number < _MOST_NAMED else f"_{shown}"


def _shown(text: str, most: int) -> str:
    """The text in signs that the font holds, not longer than fits."""
    held = get_font(findfont(FontProperties())).get_charmap()
    signs = "".join(sign if sign.isprintable() and ord(sign) in held else "?" for sign in text)
    return signs if len(signs) <= most else signs[: most - 1] + "…"


def _dress(axes: Axes, title: str, x_label: str, y_label: str, entries: int) -> None:
    more = f" (the first {_MOST_NAMED} of {entries} classes named)" if entries > _MOST_NAMED else ""
    axes.set_title(title + more, loc="left", fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.03)
    open_frame(axes)
    for text in axes.legend(fontsize=9, framealpha=0.85, loc="best").get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is one
