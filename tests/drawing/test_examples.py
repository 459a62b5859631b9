"""Examples are the cases that they are said to be, outlined where lesion and mark are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzsad.drawing.examples import REFERENCE_COLOR, Example, choose_examples, example_sheet
from medzsad.drawing.panels import OUTLINE_COLOR, color_of_score


def test_groups_are_best_median_and_worst() -> None:
    values = [0.5, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4]
    groups = choose_examples(values, count=2)
    assert [values[p] for p in groups["best"]] == [0.9, 0.8]
    assert [values[p] for p in groups["worst"]] == [0.1, 0.2]
    assert sorted(values[p] for p in groups["median"]) == [0.5, 0.6]


@pytest.mark.parametrize("count", range(1, 8))
def test_no_case_is_shown_twice_and_few_are_all_shown(count: int) -> None:
    groups = choose_examples(list(range(count)), count=3)
    shown = [place for places in groups.values() for place in places]
    assert sorted(shown) == list(range(count))


def _place(pixels: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    rows, columns = np.nonzero(np.abs(pixels.astype(int) - color).sum(axis=2) < 60)
    return float(rows.mean()), float(columns.mean())


def test_reference_and_mark_are_outlined_in_their_colors_at_their_places(tmp_path: Path) -> None:
    mask = np.zeros((100, 60), bool)
    mask[10:30, 10:20] = True
    score = np.zeros((100, 60), np.float32)
    score[70:90, 40:50] = 0.9
    example = Example("a case", np.full((100, 60), 90, np.uint8), score, mask, 0.5)
    (tmp_path / "examples.png").write_bytes(example_sheet({"best": [example]}))
    with Image.open(tmp_path / "examples.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    sheet = pixels[: pixels.shape[0] - 54]  # without the legend
    reference, marked = _place(sheet, REFERENCE_COLOR), _place(sheet, OUTLINE_COLOR)
    # 60 pixels further down and 30 to the right, at 2.3 screen pixels each.
    assert marked[0] - reference[0] == pytest.approx(60 * 2.3, abs=3)
    assert marked[1] - reference[1] == pytest.approx(30 * 2.3, abs=3)


def _colors(path: Path, top: int) -> set[tuple[int, int, int]]:
    """All colors below the row `top`, counted from the bottom."""
    with Image.open(path) as picture:
        part = picture.convert("RGB").crop((0, picture.height - top, picture.width, picture.height))
        return {color for _, color in part.getcolors(1 << 24) or ()}  # type: ignore[misc]


def test_the_legend_names_only_what_is_drawn(tmp_path: Path) -> None:
    image, score, mask = np.zeros((20, 50), np.uint8), np.zeros((20, 50), np.float32), np.ones((20, 50), bool)
    path = tmp_path / "examples.png"
    path.write_bytes(example_sheet({"best": [Example("a", image, score, mask, None)]}))
    assert REFERENCE_COLOR in _colors(path, 40)
    assert OUTLINE_COLOR not in _colors(path, 40)
    path.write_bytes(example_sheet({"best": [Example("a", image, score, None, 0.5)]}))
    assert REFERENCE_COLOR not in _colors(path, 40)
    assert OUTLINE_COLOR in _colors(path, 40)


def test_the_color_bar_ends_in_the_colors_of_score_zero_and_one(tmp_path: Path) -> None:
    image, score = np.zeros((20, 50), np.uint8), np.zeros((20, 50), np.float32)
    (tmp_path / "examples.png").write_bytes(example_sheet({"best": [Example("a", image, score, None, 0.1)]}))
    ends = {tuple(np.rint(color).astype(int).tolist()) for color in color_of_score(np.array([0.0, 1.0]), 0.1)}
    assert ends <= _colors(tmp_path / "examples.png", 40)


@pytest.mark.parametrize("name", ["two\nlines", "脑部.png", "\x1b[31m", "", "ü" * 300])
def test_any_file_name_can_stand_above_a_case(tmp_path: Path, name: str) -> None:
    image, score = np.zeros((20, 50), np.uint8), np.zeros((20, 50), np.float32)
    path = tmp_path / "examples.png"
    path.write_bytes(example_sheet({name: [Example(name, image, score, None, None)]}))
    with Image.open(path) as picture:
        assert picture.width == 2 * 28 + 3 * 230 + 2 * 8


def test_color_images_without_labels_or_threshold_can_be_shown(tmp_path: Path) -> None:
    image = np.zeros((20, 50, 3), np.uint8)
    image[..., 0] = 200
    score = np.zeros((20, 50), np.float32)
    group = [Example("x" * 300, image, score, None, None)] * 2
    (tmp_path / "examples.png").write_bytes(example_sheet({"best": group, "worst": group[:1]}))
    with Image.open(tmp_path / "examples.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert (200, 0, 0) in colors
