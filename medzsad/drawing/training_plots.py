"""The course of a training as one picture: losses, learning rates, and what validation found."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from medzsad.drawing.style import line_look, open_frame, png_of
from medzsad.errors import ConfigError

_MARKERS = "osD^vPX"
_SWITCH = "#777777"
_MOST_CLASSES = 14
_SIZE_INCHES, _DPI = (12.0, 8.8), 100

_METRICS = {
    "pixel_ap": "pixel AP",
    "pixel_auroc": "pixel AUROC",
    "image_ap": "image AP",
    "image_auroc": "image AUROC",
}


def training_plots(history: Sequence[Mapping[str, Any]]) -> bytes:
    """The plots of a training as PNG, 1200 pixels wide; no display is needed.

    Four panels over the epochs: mean losses, learning rates per parameter group, the four validation metrics with
    the epochs that were kept, and pixel AP class by class. A dashed line marks the switch of stages.

    Args:
        history: One record per epoch with the keys epoch, stage, losses, rates, validation, by_class, criterion and
            improved; see `medzsad.training.loop`. Metrics that are None leave a gap.

    Raises:
        ConfigError: There is no epoch.
    """
    if not history:
        raise ConfigError("There is no epoch to draw. Train for at least one.")
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout=_layout())
    (losses, rates), (validation, classes) = figure.subplots(2, 2, sharex=True)
    epochs = _epochs(history)
    _draw_lines(losses, epochs, _series(history, "losses"))
    _dress(losses, "Training losses", "mean loss of the epoch")
    _draw_lines(rates, epochs, _series(history, "rates"))
    _dress(rates, "Learning rates", "learning rate")
    _draw_validation(validation, epochs, history)
    _draw_classes(classes, epochs, history)
    for axes in (losses, rates, validation, classes):
        _mark_switches(axes, epochs, history)
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return png_of(figure)


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(hspace=0.06, wspace=0.04)


def _epochs(history: Sequence[Mapping[str, Any]]) -> list[int]:
    """The epochs' numbers, or their places where the second stage starts counting from 0."""
    numbers = [int(record["epoch"]) for record in history]
    rising = all(a < b for a, b in pairwise(numbers))
    return numbers if rising else list(range(1, len(numbers) + 1))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _series(history: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[float]]:
    """One line per name in order of appearance, NaN where an epoch does not have it."""
    names = dict.fromkeys(name for record in history for name in record[key])
    return {name: [_number(record[key].get(name)) for record in history] for name in names}


def _look(n: int) -> dict[str, Any]:
    """Color, style and marker of the line number `n`."""
    return {**line_look(n, 1.6), "marker": _MARKERS[n % len(_MARKERS)], "markersize": 3.5}


def _draw_lines(axes: Axes, epochs: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    for n, (name, values) in enumerate(lines.items()):
        axes.plot(epochs, values, label=name.replace("_", " "), **_look(n))
    if _spans_decades(value for values in lines.values() for value in values):
        axes.set_yscale("log")


def _spans_decades(values: Iterable[float]) -> bool:
    known = [value for value in values if value == value]
    return bool(known) and min(known) > 0 and max(known) > 20 * min(known)


def _draw_validation(axes: Axes, epochs: Sequence[int], history: Sequence[Mapping[str, Any]]) -> None:
    for n, (key, name) in enumerate(_METRICS.items()):
        values = [_number(record["validation"].get(key)) for record in history]
        if any(value == value for value in values):
            axes.plot(epochs, values, label=name, **_look(n))
    criterion = [_number(record["criterion"]) for record in history]
    # The stages may be judged by different metrics, so no line leads from one to the other.
    for stage in sorted({int(record["stage"]) for record in history}):
        part = [y if record["stage"] == stage else float("nan") for y, record in zip(criterion, history, strict=True)]
        if any(value == value for value in part):
            new = "criterion" not in axes.get_legend_handles_labels()[1]
            label = "criterion" if new else "_again"
            axes.plot(epochs, part, label=label, color="#000000", linewidth=6, alpha=0.22, zorder=1.5)
    kept = [(x, y) for x, y, record in zip(epochs, criterion, history, strict=True) if record["improved"] and y == y]
    if kept:
        x, y = zip(*kept, strict=True)
        axes.scatter(x, y, marker="*", s=110, color="#000000", zorder=5, label="kept")
    _dress(axes, "Validation on held-out auxiliary images", "mean over classes")
    axes.set_xlabel("epoch")


def _draw_classes(axes: Axes, epochs: Sequence[int], history: Sequence[Mapping[str, Any]]) -> None:
    names = sorted({name for record in history for name in record["by_class"]})
    lines = {}
    for name in names[:_MOST_CLASSES]:
        values = [_number(record["by_class"].get(name, {}).get("pixel_ap")) for record in history]
        if any(value == value for value in values):
            lines[name] = values
    for n, (name, values) in enumerate(lines.items()):
        axes.plot(epochs, values, label=name, **_look(n))
    more = f" (the first {_MOST_CLASSES} of {len(names)})" if len(names) > _MOST_CLASSES else ""
    _dress(axes, f"Validation pixel AP by class{more}", "pixel AP")
    axes.set_xlabel("epoch")


def _dress(axes: Axes, title: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_ylabel(y_label)
    open_frame(axes)
    if axes.get_legend_handles_labels()[0]:
        entries = len(axes.get_legend_handles_labels()[0])
        axes.legend(fontsize=9, framealpha=0.85, ncols=1 + (entries > 5), loc="best")
    else:
        axes.text(0.5, 0.5, "nothing was measured", transform=axes.transAxes, ha="center", color=_SWITCH)


def _mark_switches(axes: Axes, epochs: Sequence[int], history: Sequence[Mapping[str, Any]]) -> None:
    stages = [int(record["stage"]) for record in history]
    for n in range(1, len(stages)):
        if stages[n] != stages[n - 1]:
            place = (epochs[n - 1] + epochs[n]) / 2
            axes.axvline(place, color=_SWITCH, linestyle=(0, (5, 3)), linewidth=1.3)
            axes.annotate(
                f"stage {stages[n]}", (place, 0.0), xycoords=("data", "axes fraction"),
                xytext=(2, 5), textcoords="offset points", color="#444444", fontsize=9, ha="left", va="bottom",
                rotation=90,
            )  # fmt: skip
