"""The contact sheet shows image, truth and score of every row, and says where there is no mask."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from medzsad.drawing import contact_sheet as sheets
from medzsad.drawing.contact_sheet import SheetRow, contact_sheet
from medzsad.drawing.panels import OUTLINE_COLOR
from medzsad.errors import ConfigError


def row(height: int = 60, width: int = 90, *, mask: bool | None = True, title: str = "bolt") -> SheetRow:
    """A gray image, a defect and a score at the lower right."""
    image = torch.full((3, height, width), 100, dtype=torch.uint8)
    truth = torch.zeros(height, width)
    score = torch.zeros(height, width)
    score[35:50, 60:80] = 0.9
    if mask:
        truth[35:50, 60:80] = 1
    return SheetRow(image, None if mask is None else truth, score, title)


def sheet(rows: list[SheetRow]) -> np.ndarray:
    with Image.open(io.BytesIO(contact_sheet(rows))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def panel(pixels: np.ndarray, place: int, line: int = 0) -> np.ndarray:
    """The square of the panel `place` (0 image, 1 truth, 2 score) in the first column."""
    side = sheets._PANEL
    x = sheets.MARGIN + place * (side + sheets.GAP)
    y = sheets._HEAD + sheets._CAPTION
    y += line * (sheets._CAPTION + side + sheets.GAP)
    return pixels[y : y + side, x : x + side]


def outlined(pixels: np.ndarray) -> np.ndarray:
    return (np.abs(pixels - np.array(OUTLINE_COLOR)).sum(axis=-1) < 30).nonzero()  # type: ignore[return-value]


def test_the_outline_lies_around_the_defect_and_nowhere_else() -> None:
    pixels = sheet([row()])
    assert not len(outlined(panel(pixels, 0))[0])
    y, x = outlined(panel(pixels, 1))
    # 90 columns fill 180 pixels, 60 rows stand in their middle: twice the size, 30 down.
    assert (x.min(), x.max()) == pytest.approx((120, 159), abs=4)
    assert (y.min(), y.max()) == pytest.approx((100, 129), abs=4)


def test_the_score_is_colored_where_it_is_high() -> None:
    pixels = sheet([row()])
    colored = np.ptp(panel(pixels, 2)[30:150], axis=-1) > 40
    y, x = colored.nonzero()
    assert (x.mean(), y.mean() + 30) == pytest.approx((139.5, 114.5), abs=4)
    assert not (np.ptp(panel(pixels, 0)[30:150], axis=-1) > 40).any()


def test_two_rows_stand_side_by_side_and_a_third_below() -> None:
    one, two, three = (sheet([row()] * n).shape for n in (1, 2, 3))
    assert two[0] == one[0]
    assert three[0] == two[0] + sheets._CAPTION + sheets._PANEL + sheets.GAP
    assert two[1] == three[1]
    assert 1150 <= two[1] <= 1200


@pytest.mark.parametrize("mask", [None, False], ids=["no pixel label", "sound"])
def test_a_missing_outline_is_explained_in_words(mask: bool | None) -> None:
    truth = panel(sheet([row(mask=mask)]), 1)
    y, _ = outlined(truth)
    assert len(y) > 20
    assert y.min() > 120, "words stand at the lower border of the image"


def test_no_label_and_sound_read_differently() -> None:
    words = [panel(sheet([row(mask=mask)]), 1) for mask in (None, False)]
    assert (words[0] != words[1]).any()


def test_long_titles_are_cut_and_do_not_reach_the_score() -> None:
    first = sheet([row(title="x" * 500), row(title="b")])
    second = sheet([row(title="x" * 900), row(title="b")])
    assert (first == second).all()


def test_colors_depend_on_the_score_alone() -> None:
    weak = row()
    weak.score_map.mul_(0.1)
    colored = np.ptp(panel(sheet([weak]), 2)[30:150], axis=-1) > 40
    assert not colored.any(), "a weak score must not be stretched to full color"


def test_masks_and_maps_of_another_size_are_refused() -> None:
    good = row()
    for bad, what in (
        (SheetRow(good.image, torch.zeros(90, 60), good.score_map, "bolt"), "mask of 'bolt'"),
        (SheetRow(good.image, None, torch.zeros(30, 30), "nut"), "score map of 'nut'"),
    ):
        with pytest.raises(ConfigError, match=what):
            contact_sheet([bad])
    with pytest.raises(ConfigError, match="no image"):
        contact_sheet([])
