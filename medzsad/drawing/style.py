"""What all plots share: colors, lines, and how they become PNG without a display."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart with every kind of color blindness; line styles go on where they end.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")


def line_look(number: int, width: float) -> dict[str, Any]:
    """Color and style of the line `number` of a panel, as arguments of matplotlib.

    Args:
        number: From 0; any number of lines differ, as far as colors and styles go.
        width: In points.
    """
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": _STYLES[number // len(COLORS) % len(_STYLES)],
        "linewidth": width,
    }


def open_frame(axes: Axes) -> None:
    """Gives a panel a quiet grid and no frame at the top and on the right."""
    axes.grid(visible=True, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def png_of(figure: Figure) -> bytes:
    """The picture as PNG, the same bytes for the same plot."""
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return content.getvalue()
