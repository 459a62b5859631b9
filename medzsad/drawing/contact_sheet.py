"""Validation images beside their truth and their heat maps, many on one sheet."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from medzsad.drawing.canvas import BACKGROUND, GAP, MARGIN, QUIET, TEXT
from medzsad.drawing.lettering import font, shortened
from medzsad.drawing.panels import OUTLINE_COLOR, color_of_score, heat_picture, outlined_picture
from medzsad.errors import ConfigError

_PANEL = 180
_CAPTION = 24
_HEAD = 56
_FOOT = 54
_BETWEEN = 26
_KINDS = ("image", "truth", "score")
_GROUPS = 2  # rows of the sheet's data that stand side by side
_MIDDLE = 0.5  # the score that has the middle color: weights in training have no threshold yet


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One validation image.

    Attributes:
        image: (3, H, W) uint8 RGB.
        mask: (H, W), above 1/2 in a defect; None where there is no pixel label.
        score_map: (H, W) float32 in [0, 1].
        title: What stands above it, such as its class and whether it is normal.
    """

    image: Tensor
    mask: Tensor | None
    score_map: Tensor
    title: str


def contact_sheet(rows: Sequence[SheetRow]) -> bytes:
    """The sheet as PNG: per image the image, the truth as outline, the score as colors.

    Two images stand side by side. Colors are those of the product's pictures and never fitted to the image; the middle
    color is the score 0.5.

    Args:
        rows: What to show, in order.

    Raises:
        ConfigError: There is nothing to show, or a mask or score map is of another size than its image.
    """
    if not rows:
        raise ConfigError("There is no image for the contact sheet. Hold out at least one.")
    for row in rows:
        _check(row)
    content = io.BytesIO()
    _sheet(rows).save(content, format="PNG")
    return content.getvalue()


def _check(row: SheetRow) -> None:
    size = tuple(row.image.shape[1:])
    for name, plane in (("mask", row.mask), ("score map", row.score_map)):
        if plane is not None and tuple(plane.shape) != size:
            raise ConfigError(
                f"The {name} of '{row.title}' is of size {tuple(plane.shape)}, its image of {size}; both must agree."
            )


def _sheet(rows: Sequence[SheetRow]) -> Image.Image:
    group_width = len(_KINDS) * _PANEL + (len(_KINDS) - 1) * GAP
    columns = min(_GROUPS, len(rows))
    lines = -(-len(rows) // columns)
    size = (
        2 * MARGIN + columns * group_width + (columns - 1) * _BETWEEN,
        _HEAD + lines * (_CAPTION + _PANEL + GAP) + _FOOT,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column in range(columns):
        for place, kind in enumerate(_KINDS):
            x = MARGIN + column * (group_width + _BETWEEN) + place * (_PANEL + GAP) + _PANEL // 2
            draw.text((x, _HEAD - 14), kind, font=font(15), fill=TEXT, anchor="ms")
    for number, row in enumerate(rows):
        line, column = divmod(number, columns)
        corner = (MARGIN + column * (group_width + _BETWEEN), _HEAD + line * (_CAPTION + _PANEL + GAP))
        _draw_group(sheet, draw, row, corner, group_width)
    _draw_foot(draw, size)
    return sheet


def _draw_group(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow, corner: tuple[int, int], width: int
) -> None:
    x, y = corner
    score = row.score_map.detach().float().cpu().numpy()
    peak = f"highest score {float(score.max()):.2f}"
    room = width - draw.textlength(peak, font=font(13)) - 12
    draw.text((x, y + _CAPTION - 7), shortened(draw, row.title, 14, room), font=font(14), fill=TEXT, anchor="ls")
    draw.text((x + width, y + _CAPTION - 7), peak, font=font(13), fill=QUIET, anchor="rs")
    for place, panel in enumerate(_panels(row, score)):
        left = x + place * (_PANEL + GAP) + (_PANEL - panel.width) // 2
        sheet.paste(panel, (left, y + _CAPTION + (_PANEL - panel.height) // 2))


def _panels(row: SheetRow, score: NDArray[np.float32]) -> tuple[Image.Image, Image.Image, Image.Image]:
    pixels = np.ascontiguousarray(row.image.cpu().numpy().transpose(1, 2, 0))
    height, width = pixels.shape[:2]
    scale = _PANEL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    if row.mask is None:
        truth = _noted(picture, "no pixel label")
    else:
        mask = row.mask.cpu().numpy() > 0.5
        truth = outlined_picture(picture, mask) if mask.any() else _noted(picture, "normal")
    return picture, truth, heat_picture(picture, score, _MIDDLE)


def _noted(picture: Image.Image, text: str) -> Image.Image:
    """The picture with words at its lower border, so that a missing outline explains itself."""
    noted = picture.copy()
    draw = ImageDraw.Draw(noted)
    place = (picture.width / 2, picture.height - 6)
    draw.text(
        place, text, font=font(13), fill=OUTLINE_COLOR, anchor="ms", stroke_width=2, stroke_fill=BACKGROUND
    )  # fmt: skip
    return noted


def _draw_foot(draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    """The scale of colors, from score 0 on the left to 1."""
    length, y = 220, size[1] - 34
    for step in range(length):
        color = color_of_score(np.array(step / (length - 1)), _MIDDLE)
        x = MARGIN + 20 + step
        draw.line([(x, y), (x, y + 12)], fill=tuple(round(part) for part in color.tolist()))
    draw.rectangle([MARGIN + 19, y - 1, MARGIN + 20 + length, y + 13], outline=QUIET)
    draw.text((MARGIN, y + 6), "0", font=font(13), fill=TEXT, anchor="lm")
    draw.text((MARGIN + 28 + length, y + 6), "1  score", font=font(13), fill=TEXT, anchor="lm")
    draw.text((size[0] - MARGIN, y + 6), "Outline: mask of the defect.", font=font(13), fill=QUIET, anchor="rm")
