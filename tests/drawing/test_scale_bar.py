"""The scale bar has the length that it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from medzsad.drawing.scale_bar import draw_scale_bar, length_text, round_length_mm

WHITE = (255, 255, 255)


@pytest.mark.parametrize(
    ("longest", "length", "text"),
    [(73.0, 50.0, "5 cm"), (20.0, 20.0, "2 cm"), (19.9, 10.0, "1 cm"), (9.0, 5.0, "5 mm"), (1.0, 1.0, "1 mm"),
     (0.3, 0.2, "0.2 mm"), (250.0, 200.0, "20 cm"), (0.04, 0.02, "0.02 mm")],
)  # fmt: skip
def test_lengths_are_round_and_have_a_unit(longest: float, length: float, text: str) -> None:
    assert round_length_mm(longest) == pytest.approx(length)
    assert length_text(round_length_mm(longest)) == text


@given(st.floats(1e-4, 1e4))
def test_a_round_length_fits_and_wastes_little(longest: float) -> None:
    length = round_length_mm(longest)
    assert length <= longest * (1 + 1e-6)
    assert length > longest * 0.399


@pytest.mark.parametrize("pixel_mm", [0.004, 0.1, 0.4, 1.0, 3.3])
def test_the_drawn_line_is_as_long_as_it_says(pixel_mm: float) -> None:
    picture = Image.new("RGB", (300, 260), (120, 120, 120))
    length_mm = draw_scale_bar(ImageDraw.Draw(picture), (20, 10), (240, 200), pixel_mm)
    assert length_mm is not None
    rows, columns = np.nonzero((np.asarray(picture) == WHITE).all(axis=-1)[195:])
    assert columns.max() + 1 - columns.min() == pytest.approx(length_mm / pixel_mm, abs=1)
    assert (columns.min(), rows.max() + 195) == (29, 201)  # inside of the panel, away from its borders
    assert columns.max() < 140  # the lower middle belongs to the letter of the direction


@pytest.mark.parametrize("size", [(40, 200), (240, 30), (12, 12)])
def test_there_is_no_bar_where_there_is_no_room(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", (300, 260))
    assert draw_scale_bar(ImageDraw.Draw(picture), (0, 0), size, 1.0) is None
    assert not np.asarray(picture).any()
