"""The picture of a case."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medzsad.drawing import canvas
from medzsad.drawing.montage import choose_slices, montage_image, slice_caption
from medzsad.drawing.panels import OUTLINE_COLOR
from medzsad.errors import OutputError
from medzsad.scan.records import Scan, Source, SourceKind
from medzsad.volume.records import CaseResult, Outcome
from tests.output.conftest import MakeResult
from tests.phantoms import Phantom


def _count(picture: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == color).all(axis=-1).sum())


def test_the_slices_with_the_highest_scores_are_shown_in_order() -> None:
    peak = np.array([0.1, 0.9, 0.2, 0.8, 0.7, 0.3, 0.6, 0.5, 0.0], dtype=np.float32)
    everywhere, nowhere = np.ones(9, dtype=bool), np.zeros(9, dtype=bool)
    assert choose_slices(peak, nowhere, everywhere) == (1, 3, 4, 5, 6, 7)


def test_slices_with_lesions_come_before_higher_scores_without() -> None:
    peak = np.linspace(0, 1, 20, dtype=np.float32)
    in_mask = np.zeros(20, dtype=bool)
    in_mask[[2, 3]] = True
    assert choose_slices(peak, in_mask, np.ones(20, dtype=bool)) == (2, 3, 16, 17, 18, 19)


def test_neighbors_in_a_long_stack_are_skipped_while_there_is_a_choice() -> None:
    peak = -np.abs(np.arange(240, dtype=np.float32) - 100)
    everywhere, nowhere = np.ones(240, dtype=bool), np.zeros(240, dtype=bool)
    assert np.diff(choose_slices(peak, nowhere, everywhere)).min() >= 10
    few = nowhere.copy()
    few[98:103] = True
    assert set(range(98, 103)) < set(choose_slices(peak, few, everywhere))


def test_slices_without_tissue_are_not_shown() -> None:
    scored = np.array([False, True, True, False, False])
    assert choose_slices(np.zeros(5, dtype=np.float32), ~np.ones(5, dtype=bool), scored) == (1, 2)


def test_a_scan_without_any_tissue_still_has_a_picture() -> None:
    nowhere = np.zeros(5, dtype=bool)
    assert choose_slices(np.zeros(5, dtype=np.float32), nowhere, nowhere) == (2,)


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_lesions_are_outlined_along_every_axis(make_result: MakeResult, slice_axis: int) -> None:
    picture = montage_image(make_result(slice_axis=slice_axis), model_name="tiny")
    without = montage_image(make_result(slice_axis=slice_axis, threshold=0.95), model_name="tiny")
    assert _count(picture, OUTLINE_COLOR) > _count(without, OUTLINE_COLOR) + 200


def test_a_healthy_case_shows_its_top_slices_without_outlines(make_result: MakeResult) -> None:
    result = make_result(threshold=0.95)
    assert result.outcome is Outcome.NO_LESION
    picture = montage_image(result)
    colored = np.asarray(picture).reshape(-1, 3).max(axis=1)
    assert colored.max() > 200
    assert picture.width > 800


def test_the_same_result_gives_the_same_picture(make_result: MakeResult) -> None:
    first, second = (montage_image(make_result(), model_name="tiny").tobytes() for _ in range(2))
    assert first == second


def test_the_picture_does_not_depend_on_the_axis_order_of_the_array(make_result: MakeResult, phantom: Phantom) -> None:
    result = make_result()
    assert result.scan is not None
    assert result.score is not None
    assert result.mask is not None
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, result.scan.shape[0] - 1
    scan = replace(result.scan, voxels=result.scan.voxels[::-1], affine_ras=result.scan.affine_ras @ flip)
    turned = replace(result, scan=scan, score=result.score[::-1], mask=result.mask[::-1])
    assert montage_image(turned).tobytes() == montage_image(result).tobytes()


def _picture_result(color: bool, kind: SourceKind = "picture") -> CaseResult:
    rng = np.random.default_rng(2)
    shape = (60, 45, 1, 3) if color else (60, 45, 1)
    scan = Scan(
        "ultraschall ä",
        255 * rng.random(shape, dtype=np.float32),
        np.diag([-1.0, -1.0, 1.0, 1.0]),
        "PICTURE" if kind == "picture" else "US",
        2,
        Source(kind),
        has_physical_space=False,
    )
    mask = np.zeros((60, 45, 1), dtype=np.uint8)
    return CaseResult(scan.name, Outcome.NO_LESION, scan=scan, score=mask.astype(np.float32), mask=mask)


@pytest.mark.parametrize("kind", ["picture", "dicom"])
@pytest.mark.parametrize("color", [False, True], ids=["gray", "color"])
def test_pictures_are_shown_without_directions(color: bool, kind: SourceKind) -> None:
    montage = montage_image(_picture_result(color, kind))
    assert _count(montage, (255, 214, 90)) == 0
    assert montage.width > montage.height


def _bars(result: CaseResult, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, int], float]]:
    """Size of the panel and millimeters per pixel of each scale bar of a montage."""
    drawn: list[tuple[tuple[int, int], float]] = []
    with monkeypatch.context() as patch:
        patch.setattr(canvas, "draw_scale_bar", lambda _, corner, size, pixel_mm: drawn.append((size, pixel_mm)))
        montage_image(result)
    return drawn


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_each_slice_has_a_scale_bar_in_millimeters(
    make_result: MakeResult, monkeypatch: pytest.MonkeyPatch, slice_axis: int
) -> None:
    result = make_result(slice_axis=slice_axis)
    assert result.scan is not None
    bars = _bars(result, monkeypatch)
    assert len(bars) == len(choose_slices(*([np.ones(result.scan.shape[slice_axis])] * 3)))
    # The phantom fills nearly all of its slices, so the longer side of a panel is about as long as the body.
    (width, height), pixel_mm = bars[0]
    sides = [n * mm for n, mm in zip(result.scan.shape, result.scan.spacing_mm, strict=True)]
    del sides[slice_axis]
    assert 0.7 * max(sides) <= max(width, height) * pixel_mm <= 1.01 * max(sides)
    larger = replace(result.scan, affine_ras=result.scan.affine_ras @ np.diag([3.0, 3, 3, 1]))
    assert _bars(replace(result, scan=larger), monkeypatch)[0] == ((width, height), pytest.approx(3 * pixel_mm))


def test_a_photograph_has_no_scale_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _bars(_picture_result(color=True), monkeypatch) == []


def test_the_caption_names_the_number_that_viewers_show(phantom: Phantom) -> None:
    numbers = (*range(101, 112), None)
    scan = SimpleNamespace(source=SimpleNamespace(instance_numbers=numbers))
    assert slice_caption(scan, 2, 3, 0.5) == "k = 3  ·  instance 104  ·  max 0.50"  # type: ignore[arg-type]
    assert slice_caption(scan, 2, 11, 0.5) == "k = 11  ·  max 0.50"  # type: ignore[arg-type]
    # Slices across the acquired ones have no number of their own.
    assert slice_caption(scan, 0, 3, 0.5) == "i = 3  ·  max 0.50"  # type: ignore[arg-type]
    assert slice_caption(phantom.scan, 2, 3, 0.5) == "k = 3  ·  max 0.50"


@pytest.mark.parametrize(("width", "lines"), [(400, 1), (150, 2), (80, 3)])
def test_captions_are_broken_so_that_each_stands_over_its_own_panel(width: int, lines: int) -> None:
    texts = canvas.wrapped(["k = 4  ·  instance 105  ·  max 0.89", "k = 11  ·  max 0.10"], width)
    assert max(text.count("\n") for text in texts) + 1 == lines
    assert [text.replace("\n", "  ·  ") for text in texts][1] == "k = 11  ·  max 0.10"


def test_given_slice_images_are_shown_instead_of_the_voxels(make_result: MakeResult) -> None:
    result = make_result()
    assert result.scan is not None
    shape = result.scan.shape[:2]
    white = montage_image(result, lambda index: np.ones(shape))
    assert _count(white, (255, 255, 255)) > 10 * _count(montage_image(result), (255, 255, 255))


def test_a_refused_case_has_no_picture() -> None:
    with pytest.raises(OutputError, match="no slices to show"):
        montage_image(CaseResult("x", Outcome.REFUSED, message="too small"))
