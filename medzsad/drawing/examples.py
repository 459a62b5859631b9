"""Best, median and worst cases of a benchmark as one picture."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medzsad.drawing.canvas import BACKGROUND, GAP, MARGIN, QUIET, TEXT
from medzsad.drawing.lettering import font, plain_signs, shortened
from medzsad.drawing.panels import OUTLINE_COLOR, color_of_score, heat_picture, outlined_picture, position_of_score

REFERENCE_COLOR = (255, 170, 0)
_PANEL, _CAPTION, _HEADING, _FOOT = 230, 34, 48, 54
# The page of a report shows three groups side by side at half their size: letters are large enough for that.
_CAPTION_SIZE, _HEADING_SIZE, _FOOT_SIZE = 18, 27, 15
_UNKNOWN_THRESHOLD = 0.5  # the score of the middle color where no threshold is known
_BAR = 150  # width of the color bar


@dataclass(frozen=True, slots=True)
class Example:
    """One case.

    Attributes:
        caption: What stands above it.
        image: (H, W) or (H, W, 3) uint8.
        score: (H, W) float32 in [0, 1].
        mask: (H, W) the reference; None where there is no pixel label.
        threshold: Score from which a pixel is marked; None if none is known.
    """

    caption: str
    image: NDArray[np.uint8]
    score: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    threshold: float | None


def choose_examples(values: Sequence[float], count: int = 3) -> dict[str, list[int]]:
    """Places of the best, the median and the worst values, each place once.

    Args:
        values: Higher is better.
        count: Most places of each group.
    """
    order = [int(place) for place in np.argsort(-np.asarray(values, np.float64), kind="stable")]
    best = order[:count]
    worst = [place for place in order[::-1][:count] if place not in best]
    left = [place for place in order if place not in best and place not in worst]
    middle = max(0, (len(left) - count) // 2)
    groups = {"best": best, "median": left[middle : middle + count], "worst": worst}
    return {name: places for name, places in groups.items() if places}


def example_sheet(groups: Mapping[str, Sequence[Example]]) -> bytes:
    """A PNG with a row per case: image, score, and outlines of reference and detection.

    Args:
        groups: Cases by the heading that stands over them, at least one.
    """
    content = io.BytesIO()
    _sheet(groups).save(content, format="PNG", compress_level=3)
    return content.getvalue()


def _sheet(groups: Mapping[str, Sequence[Example]]) -> Image.Image:
    """Groups side by side, cases below each other."""
    width = 3 * _PANEL + 2 * GAP
    most = max(len(group) for group in groups.values())
    rows = [max(_shown_size(group[n].image)[1] for group in groups.values() if n < len(group)) for n in range(most)]
    size = (
        2 * MARGIN + len(groups) * width + (len(groups) - 1) * MARGIN,
        _HEADING + sum(rows) + most * (_CAPTION + GAP) + _FOOT,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, (heading, group) in enumerate(groups.items()):
        left, top = MARGIN + column * (width + MARGIN), _HEADING
        draw.text((left, _HEADING - 12), plain_signs(heading), font=font(_HEADING_SIZE), fill=TEXT, anchor="ls")
        for height, example in zip(rows, group, strict=False):
            caption = shortened(draw, plain_signs(example.caption), _CAPTION_SIZE, width, keep_end=True)
            draw.text((left, top + _CAPTION - 8), caption, font=font(_CAPTION_SIZE), fill=TEXT, anchor="ls")
            for place, panel in enumerate(_panels(example)):
                sheet.paste(panel, (left + place * (_PANEL + GAP), top + _CAPTION))
            top += height + _CAPTION + GAP
    _draw_foot(draw, size, [example for group in groups.values() for example in group])
    return sheet


def _shown_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    height, width = image.shape[:2]
    scale = _PANEL / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _panels(example: Example) -> tuple[Image.Image, Image.Image, Image.Image]:
    picture = Image.fromarray(example.image).convert("RGB").resize(_shown_size(example.image), Image.Resampling.BICUBIC)
    outlined = picture
    if example.threshold is not None:
        outlined = outlined_picture(outlined, example.score >= np.float32(example.threshold))
    if example.mask is not None:
        outlined = outlined_picture(outlined, example.mask, color=REFERENCE_COLOR)
    return picture, heat_picture(picture, example.score, _middle(example)), outlined


def _middle(example: Example) -> float:
    return _UNKNOWN_THRESHOLD if example.threshold is None else example.threshold


def _draw_foot(draw: ImageDraw.ImageDraw, size: tuple[int, int], examples: Sequence[Example]) -> None:
    """What the lines and colors mean, of those that were drawn."""
    x, y = MARGIN, size[1] - 24
    if len({_middle(example) for example in examples}) == 1:
        x = _draw_bar(draw, x, y, examples[0])
    legend = (
        (REFERENCE_COLOR, "reference", any(one.mask is not None for one in examples)),
        (OUTLINE_COLOR, "marked at the threshold", any(one.threshold is not None for one in examples)),
    )
    for color, words in ((color, words) for color, words, drawn in legend if drawn):
        draw.line([(x, y), (x + 22, y)], fill=color, width=3)
        draw.text((x + 30, y), words, font=font(_FOOT_SIZE), fill=QUIET, anchor="lm")
        x += 50 + round(draw.textlength(words, font=font(_FOOT_SIZE)))


def _draw_bar(draw: ImageDraw.ImageDraw, x: int, y: int, example: Example) -> int:
    """Draws the color bar with its ends and its middle; where it ends."""
    middle = _middle(example)
    ends = np.array([0.0, middle, 1.0])
    scores = np.interp(np.linspace(0, 1, _BAR), position_of_score(ends, middle), ends)
    letters = font(_FOOT_SIZE)
    draw.text((x, y), "score 0", font=letters, fill=QUIET, anchor="lm")
    x += 8 + round(draw.textlength("score 0", font=letters))
    for step, color in enumerate(np.rint(color_of_score(scores, middle)).astype(int).tolist()):
        draw.line([(x + step, y - 7), (x + step, y + 7)], fill=tuple(color))
    draw.rectangle([x - 1, y - 8, x + _BAR, y + 8], outline=QUIET)
    words = "1"
    if example.threshold is not None:
        draw.line([(x + _BAR // 2, y - 11), (x + _BAR // 2, y + 11)], fill=OUTLINE_COLOR, width=2)
        words = f"1   threshold {example.threshold:.3g}"
    draw.text((x + _BAR + 8, y), words, font=letters, fill=QUIET, anchor="lm")
    return x + _BAR + 36 + round(draw.textlength(words, font=letters))
