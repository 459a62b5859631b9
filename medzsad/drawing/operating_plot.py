"""The operating curve of a decision as one picture: lesions found against lesions marked in healthy scans."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medzsad.drawing.style import line_look, open_frame, png_of
from medzsad.weights.card import DecisionCard, OperatingPoint

_SIZE_INCHES, _DPI = (11.0, 5.0), 100
_LEVEL_COLOR = "#777777"


def operating_plot(card: DecisionCard, title: str) -> bytes:
    """The plot as PNG, 1100 pixels wide: on the left by the size of the lesions, on the right by their contrast.

    A dashed line marks the cut-off of each level.

    Args:
        card: The decision.
        title: Of the picture, such as the name of the weights.
    """
    curve = card.operating
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    scans = f"{card.healthy_scans} healthy scans and {card.lesion_scans} with lesions"
    figure.suptitle(f"{title}: {scans}", fontsize=13, fontweight="bold", parse_math=False)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    unit = _milliliters if curve.size_unit == "mm3" else _percent
    _draw(left, curve.points, curve.lesions_by_size, lambda p: p.found_by_size, _ranges(curve.size_from, unit))
    _draw(
        right, curve.points, curve.lesions_by_contrast, lambda p: p.found_by_contrast,
        _ranges(curve.contrast_from, lambda value: f"{value:g}"),
    )  # fmt: skip
    left.set_title("by size of the lesion", loc="left", fontsize=11)
    right.set_title("by contrast, in robust standard deviations", loc="left", fontsize=11)
    left.set_ylabel("share of the lesions found")
    return png_of(figure)


def _draw(
    axes: Axes,
    points: Sequence[OperatingPoint],
    lesions: Sequence[int],
    found: Callable[[OperatingPoint], Sequence[int]],
    names: Sequence[str],
) -> None:
    false = [point.false_lesions_per_scan for point in points]
    for number, (total, name) in enumerate(zip(lesions, names, strict=True)):
        if total:
            shares = [found(point)[number] / total for point in points]
            axes.plot(false, shares, marker=".", label=f"{name} ({total})", **line_look(number, 1.8))
    for at, levels in _level_names(points).items():
        axes.axvline(at, color=_LEVEL_COLOR, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f" {levels}", (at, 0.0), rotation=90, fontsize=8, color=_LEVEL_COLOR, va="bottom", ha="left")
    # Linear up to one false lesion in a hundred scans, so that none at all has a place.
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlim(left=-0.001)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xlabel("false lesions per healthy scan")
    open_frame(axes)
    if any(lesions):
        axes.legend(fontsize=9, framealpha=0.85, loc="best", title="lesions")


def _level_names(points: Sequence[OperatingPoint]) -> dict[float, str]:
    """The levels by their number of false lesions, which two of them may share."""
    names: dict[float, str] = {}
    for point in points:
        if point.level is not None:
            at = point.false_lesions_per_scan
            names[at] = f"{names[at]}, {point.level}" if at in names else point.level
    return names


def _ranges(starts: Sequence[float], shown: Callable[[float], str]) -> list[str]:
    ends = [*starts[1:], None]
    return [
        f"{shown(start)} and more"
        if end is None
        else f"under {shown(end)}"
        if start == 0
        else f"{shown(start)} to {shown(end)}"
        for start, end in zip(starts, ends, strict=True)
    ]


def _milliliters(mm3: float) -> str:
    return f"{mm3 / 1000:g} ml"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
