"""Where panels, captions, color bar and header stand in the picture of a case."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from medzsad.drawing.lettering import font, plain_signs
from medzsad.drawing.panels import OUTLINE_COLOR, View, color_of_score, position_of_score
from medzsad.drawing.scale_bar import draw_scale_bar
from medzsad.scan.records import Scan
from medzsad.volume.records import CaseResult, Outcome

BACKGROUND = (14, 17, 22)
TEXT = (232, 236, 242)
QUIET = (150, 160, 174)
BADGES = {Outcome.LESION: ("lesion", (214, 64, 69)), Outcome.NO_LESION: ("no lesion", (46, 139, 87))}
MARGIN, GAP, HEADER, FOOTER, LABELS, CAPTION, BAR = 28, 8, 92, 46, 72, 28, 112
_TEXT_SIZE, _LINE = 14, 18  # of captions and labels, and from line to line
KINDS = ("image", "score", "mask")
SEPARATOR = "  ·  "  # of the parts of a caption


@dataclass(frozen=True, slots=True)
class ShownSlice:
    """One slice as shown.

    Attributes:
        caption: What stands above or beside it; its parts are divided by SEPARATOR.
        panels: One for each of `KINDS`, all of the same size.
        pixel_mm: Side of their pixels; None where nothing is known of millimeters.
    """

    caption: str
    panels: tuple[Image.Image, Image.Image, Image.Image]
    pixel_mm: float | None = None


def lay_out(slices: Sequence[ShownSlice], result: CaseResult, scan: Scan, view: View, model_name: str) -> Image.Image:
    """The whole picture: panels in rows and columns under a header, a color bar on the right.

    One slice per column; with one or two slices, one per row.
    """
    width, height = slices[0].panels[0].size
    upright = len(slices) <= 2  # one slice per row, else one per column
    columns, rows = (len(KINDS), len(slices)) if upright else (len(slices), len(KINDS))
    captions = [shown.caption for shown in slices]
    above, beside = (KINDS, captions) if upright else (wrapped(captions, width), KINDS)
    beside = [text.replace(SEPARATOR, "\n") for text in beside]
    left = MARGIN + max(LABELS, round(_widest(beside)) + 14)
    top = HEADER + CAPTION + _LINE * max(text.count("\n") for text in above)
    canvas_size = (
        max(left + columns * (width + GAP) + BAR + MARGIN, 860),
        top + rows * (height + GAP) + FOOTER,
    )
    canvas = Image.new("RGB", canvas_size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for number, shown in enumerate(slices):
        for kind, panel in enumerate(shown.panels):
            column, row = (kind, number) if upright else (number, kind)
            corner = (left + column * (width + GAP), top + row * (height + GAP))
            canvas.paste(panel, corner)
            if scan.has_physical_space:
                _letters(draw, corner, panel.size, view.letters)
            if KINDS[kind] == "image" and shown.pixel_mm is not None:
                draw_scale_bar(draw, corner, panel.size, shown.pixel_mm)
    for column, text in enumerate(above):
        place = (left + column * (width + GAP) + width // 2, top - 8)
        draw.multiline_text(place, text, font=font(_TEXT_SIZE), fill=TEXT, anchor="md", align="center")
    for row, text in enumerate(beside):
        y = top + row * (height + GAP) + height // 2
        draw.multiline_text((MARGIN, y), text, font=font(_TEXT_SIZE), fill=TEXT, anchor="lm")
    bar_top = top if upright else top + KINDS.index("score") * (height + GAP)
    _color_bar(draw, (left + columns * (width + GAP) + 12, bar_top), max(height, 60), result.threshold)
    _header(draw, result, scan, view, model_name)
    _footer(draw, result, scan, canvas_size)
    return canvas


def wrapped(captions: Sequence[str], width: int) -> Sequence[str]:
    """The captions in as few lines as let each of them stand above its own panel.

    Args:
        captions: With SEPARATOR between their parts.
        width: Of a panel.
    """
    most = max(caption.count(SEPARATOR) for caption in captions)
    for breaks in range(most + 1):
        lines = ["\n".join(caption.rsplit(SEPARATOR, breaks)) for caption in captions]
        if _widest(lines) <= width + GAP:
            break
    return lines


def _widest(texts: Sequence[str]) -> float:
    letters = font(_TEXT_SIZE)
    return max(float(letters.getlength(line)) for text in texts for line in text.split("\n"))


def _letters(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], letters: tuple[str, str, str, str]
) -> None:
    x, y = corner
    width, height = size
    places = (
        ((x + 5, y + height / 2), "lm"), ((x + width - 5, y + height / 2), "rm"),
        ((x + width / 2, y + 5), "mt"), ((x + width / 2, y + height - 5), "mb"),
    )  # fmt: skip
    for letter, (place, anchor) in zip(letters, places, strict=True):
        draw.text(
            place, letter, font=font(12), fill=(255, 214, 90), anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0)
        )


def _color_bar(draw: ImageDraw.ImageDraw, corner: tuple[int, int], height: int, threshold: float) -> None:
    x, y = corner
    ticks = np.linspace(0, 1, height)
    scores = np.interp(ticks, position_of_score(np.array([0.0, threshold, 1.0]), threshold), [0.0, threshold, 1.0])
    for step, color in enumerate(np.rint(color_of_score(scores, threshold)).astype(int)):
        draw.line([(x, y + height - 1 - step), (x + 14, y + height - 1 - step)], fill=tuple(color.tolist()))
    draw.rectangle([x - 1, y - 1, x + 15, y + height], outline=QUIET)
    for score, anchor in ((1.0, "lt"), (0.0, "lb")):
        end = y if score else y + height
        draw.text((x + 24, end), f"{score:g}", font=font(13), fill=TEXT, anchor=anchor)
    middle = y + height - 1 - round(float(position_of_score(threshold, threshold)) * (height - 1))
    draw.line([(x - 4, middle), (x + 20, middle)], fill=OUTLINE_COLOR, width=2)
    text = f"{threshold:.3g}\nthreshold"
    draw.multiline_text((x + 24, middle), text, font=font(13), fill=OUTLINE_COLOR, anchor="lm")


def _header(draw: ImageDraw.ImageDraw, result: CaseResult, scan: Scan, view: View, model_name: str) -> None:
    label, color = BADGES[result.outcome]
    if result.lesions:
        label = f"{len(result.lesions)} lesion" + ("s" if len(result.lesions) > 1 else "")
    badge_font = font(15)
    width = round(draw.textlength(label, font=badge_font)) + 22
    draw.rounded_rectangle([MARGIN, 24, MARGIN + width, 50], radius=13, fill=color)
    draw.text((MARGIN + width / 2, 37), label, font=badge_font, fill=(255, 255, 255), anchor="mm")
    draw.text((MARGIN + width + 14, 37), plain_signs(result.name), font=font(24), fill=TEXT, anchor="lm")
    spacing = " x ".join(f"{side:.3g}" for side in scan.spacing_mm)
    count = scan.shape[view.slice_axis]
    sliced = f"{count} {view.plane} slice{'s' * (count != 1)} along {'ijk'[view.slice_axis]}"
    facts = [
        f"model {plain_signs(model_name)}" if model_name else "",
        "picture" if scan.modality == "PICTURE" else scan.modality,
        sliced if scan.has_physical_space else "",
        f"voxels {spacing} mm" if scan.has_physical_space else "",
        f"window {result.window['name']}" if result.window.get("name") else "",
    ]
    line = "   ·   ".join(fact for fact in facts if fact)
    draw.text((MARGIN, 72), line, font=font(14), fill=QUIET, anchor="lm")


def _footer(draw: ImageDraw.ImageDraw, result: CaseResult, scan: Scan, size: tuple[int, int]) -> None:
    sentences = ["Research use, not a medical device."]
    if result.outcome is Outcome.NO_LESION:
        sentences.insert(0, "No lesion reached the threshold; these slices scored highest.")
    if scan.has_physical_space:
        sentences.append("Yellow letters: direction in the patient.")
    draw.text((MARGIN, size[1] - 22), "  ".join(sentences), font=font(13), fill=QUIET, anchor="lm")
