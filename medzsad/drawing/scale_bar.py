"""A line of known length on a panel, so that sizes can be judged by eye."""

import math

from PIL import ImageDraw

from medzsad.drawing.lettering import font

_INSET, _SHARE = 9, 0.4  # from the panel's border in pixels; longest bar as a share of the panel's width
_SHORTEST = 12  # pixels
_COLOR, _EDGE = (255, 255, 255), (0, 0, 0)


def round_length_mm(longest_mm: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten millimeters that is not longer than `longest_mm`."""
    power = 10.0 ** math.floor(math.log10(longest_mm))
    # A rounding error must not make 50 mm out of 100 mm.
    return max(step * power for step in (1, 2, 5, 10) if step * power <= longest_mm * (1 + 1e-9))


def length_text(length_mm: float) -> str:
    """A length with its unit: "5 cm", "2 mm", "0.5 mm"."""
    # The font has no sign for micrometers.
    return f"{length_mm / 10:g} cm" if length_mm >= 10 else f"{length_mm:g} mm"


def draw_scale_bar(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], pixel_mm: float
) -> float | None:
    """Draws the bar with its length at the lower left of a panel; its length in millimeters, None if there is no room.

    Args:
        draw: Where to.
        corner: Upper left of the panel.
        size: Width and height of the panel.
        pixel_mm: Side of a pixel of the screen.
    """
    width, height = size
    length_mm = round_length_mm(_SHARE * width * pixel_mm)
    length, text, letters = round(length_mm / pixel_mm), length_text(length_mm), font(12)
    # The lower middle belongs to the letter of the direction.
    needed = _INSET + max(length, math.ceil(draw.textlength(text, font=letters))) + 8
    if length < _SHORTEST or needed > width / 2 or height < 60:
        return None
    left, bottom = corner[0] + _INSET, corner[1] + height - _INSET
    draw.rectangle([left - 1, bottom - 3, left + length, bottom + 1], fill=_EDGE)
    draw.rectangle([left, bottom - 2, left + length - 1, bottom], fill=_COLOR)
    draw.text((left, bottom - 6), text, font=letters, fill=_COLOR, anchor="ls", stroke_width=1, stroke_fill=_EDGE)
    return length_mm
