"""Letters of all pictures."""

import unicodedata
from typing import Any

from PIL import ImageDraw, ImageFont


def font(size: int) -> Any:
    """The font of all pictures; Pillow brings it along, so pictures are the same on every machine."""
    return ImageFont.load_default(size)


def plain_signs(text: str) -> str:
    """The text in one line of signs that the font holds: accents are dropped, others become a question mark."""
    split = unicodedata.normalize("NFKD", text)
    bare = "".join(sign for sign in split if not unicodedata.combining(sign))
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in bare)


def shortened(draw: ImageDraw.ImageDraw, text: str, size: int, room: float, keep_end: bool = False) -> str:
    """The text cut so that it fits, with three dots where signs are missing.

    Args:
        draw: Measures the text.
        text: To be shown.
        size: Of the font.
        room: In pixels.
        keep_end: Cut the beginning, for texts that say the most at their end.
    """
    letters = font(size)
    if draw.textlength(text, font=letters) <= room:
        return text
    while text:
        text = text[1:] if keep_end else text[:-1]
        cut = "…" + text if keep_end else text + "…"
        if draw.textlength(cut, font=letters) <= room:
            return cut
    return "…"
