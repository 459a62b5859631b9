"""The same images under several detectors as one picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medzsad.drawing.canvas import BACKGROUND, GAP, MARGIN, QUIET, TEXT
from medzsad.drawing.examples import REFERENCE_COLOR
from medzsad.drawing.lettering import font, plain_signs, shortened
from medzsad.drawing.panels import OUTLINE_COLOR, heat_picture, outlined_picture

_PANEL, _HEADING, _CAPTION, _FOOT = 230, 40, 26, 34
_LETTERS, _SMALL = 18, 14
_UNKNOWN_THRESHOLD = 0.5  # the score of the middle color where no threshold is known


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One image with the scores of several detectors.

    Attributes:
        caption: What stands above it.
        image: (H, W) or (H, W, 3) uint8.
        mask: (H, W) the reference; None where there is no pixel label.
        scores: (H, W) float32 in [0, 1] of each detector.
    """

    caption: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    scores: tuple[NDArray[np.float32], ...]


def side_by_side_sheet(
    names: Sequence[str], thresholds: Sequence[float | None], images: Sequence[ScoredImage]
) -> bytes:
    """A PNG with a row per image: the image with its reference, then the score and the outline of each detector.

    Args:
        names: Of the detectors.
        thresholds: Score from which a pixel is marked, of each; None where none is known, which outlines nothing.
        images: At least one.
    """
    panels = [_panels(one, thresholds) for one in images]
    columns, heights = len(names) + 1, [max(panel.height for panel in row) for row in panels]
    width = 2 * MARGIN + columns * _PANEL + (columns - 1) * GAP
    sheet = Image.new("RGB", (width, _HEADING + sum(heights) + len(images) * (_CAPTION + GAP) + _FOOT), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    lefts = [MARGIN + place * (_PANEL + GAP) for place in range(columns)]
    for left, name in zip(lefts, ("image", *names), strict=True):
        words = shortened(draw, plain_signs(name), _LETTERS, _PANEL, keep_end=True)
        draw.text((left, _HEADING - 12), words, font=font(_LETTERS), fill=TEXT, anchor="ls")
    top = _HEADING
    for image, row, height in zip(images, panels, heights, strict=True):
        words = shortened(draw, plain_signs(image.caption), _SMALL, width - 2 * MARGIN, keep_end=True)
        draw.text((MARGIN, top + _CAPTION - 8), words, font=font(_SMALL), fill=QUIET, anchor="ls")
        for left, panel in zip(lefts, row, strict=True):
            sheet.paste(panel, (left, top + _CAPTION))
        top += height + _CAPTION + GAP
    _draw_legend(draw, top + _FOOT // 2)
    content = io.BytesIO()
    sheet.save(content, format="PNG", compress_level=3)
    return content.getvalue()


def _panels(one: ScoredImage, thresholds: Sequence[float | None]) -> list[Image.Image]:
    height, width = one.image.shape[:2]
    scale = _PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(one.image).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    first = picture if one.mask is None else outlined_picture(picture, one.mask, color=REFERENCE_COLOR)
    panels = [first]
    for score, threshold in zip(one.scores, thresholds, strict=True):
        panel = heat_picture(picture, score, _UNKNOWN_THRESHOLD if threshold is None else threshold)
        if threshold is not None:
            panel = outlined_picture(panel, score >= np.float32(threshold))
        panels.append(panel)
    return panels


def _draw_legend(draw: ImageDraw.ImageDraw, y: int) -> None:
    x = MARGIN
    for color, words in ((REFERENCE_COLOR, "reference"), (OUTLINE_COLOR, "marked at the detector's own threshold")):
        draw.line([(x, y), (x + 22, y)], fill=color, width=3)
        draw.text((x + 30, y), words, font=font(_SMALL), fill=QUIET, anchor="lm")
        x += 50 + round(draw.textlength(words, font=font(_SMALL)))
