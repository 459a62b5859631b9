"""One picture per case: the slices with the highest scores as image, as heat map and with the lesions outlined."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medzsad.drawing.canvas import BACKGROUND, SEPARATOR, ShownSlice, lay_out
from medzsad.drawing.lettering import font
from medzsad.drawing.panels import (
    OUTLINE_COLOR,
    View,
    display_view,
    heat_picture,
    oriented_slice,
    outlined_picture,
    panel_size,
    scaled_mask,
    windowed_picture,
)
from medzsad.errors import OutputError
from medzsad.scan.records import Scan
from medzsad.volume.lesions import label_lesions
from medzsad.volume.records import CaseResult

SliceImages = Callable[[int], NDArray[Any]]

MOST_SLICES = 6
MOST_MARKERS = 12


def choose_slices(peak: NDArray[np.float32], in_mask: NDArray[np.bool_], scored: NDArray[np.bool_]) -> tuple[int, ...]:
    """Indices, rising, of at most six slices to show: those with lesions first, then by falling score.

    In a long stack, neighbors look alike; slices are therefore taken apart by 1/24 of the stack as long as that
    leaves enough of them.

    Args:
        peak: (n,) highest score of each slice.
        in_mask: (n,) whether the slice holds a lesion.
        scored: (n,) whether the slice held tissue.
    """
    ranked = [int(index) for index in np.argsort(-peak, kind="stable")]
    apart = max(1, len(peak) // 24)
    chosen: list[int] = []
    for group, distance in ((in_mask, apart), (in_mask, 1), (scored, apart), (scored, 1)):
        for index in ranked:
            far = all(abs(index - other) >= distance for other in chosen)
            if len(chosen) < MOST_SLICES and group[index] and far:
                chosen.append(index)
    return tuple(sorted(chosen)) if chosen else (len(peak) // 2,)


def montage_image(result: CaseResult, slice_images: SliceImages | None = None, model_name: str = "") -> Image.Image:
    """The picture of a case, RGB: up to six slices, each as image, heat map and outline.

    Slices stand in radiological orientation and true proportions. The colors of the score are fixed by the threshold
    and never fitted to the image. The picture holds the case name and nothing else about the patient.

    Args:
        result: A case with outcome lesion or no_lesion.
        slice_images: Takes a slice index, gives the gray (a, b) or color (a, b, 3) slice in [0, 1], its axes in the
            order of the array. None shows the scan's voxels under the window of the result.
        model_name: Name of the model.

    Raises:
        OutputError: The case has no scan, score or mask.
    """
    if result.scan is None or result.score is None or result.mask is None:
        raise OutputError(f"Case {result.name} ended as {result.outcome} and has no slices to show.")
    view = display_view(result.scan.affine_ras, result.slice_axis)
    slices = _slices(result, result.scan, result.score, result.mask, view, slice_images)
    return lay_out(slices, result, result.scan, view, model_name)


def _slices(
    result: CaseResult,
    scan: Scan,
    score: NDArray[np.float32],
    mask: NDArray[np.uint8],
    view: View,
    slice_images: SliceImages | None,
) -> list[ShownSlice]:
    others = tuple(axis for axis in range(3) if axis != view.slice_axis)
    peak = score.max(axis=others)
    scored = np.zeros(len(peak), dtype=bool)
    scored[[entry.index for entry in result.slices if entry.scored]] = True
    chosen = choose_slices(peak, mask.max(axis=others) > 0, scored)
    planes, (low, high) = _planes(chosen, scan, result, view, slice_images)
    masks = [oriented_slice(mask, index, view) > 0 for index in chosen]
    part = _worth_showing([(plane - low) / max(high - low, 1e-12) for plane in planes], masks)
    labels, box = label_lesions(mask)
    shown = []
    for index, plane in zip(chosen, planes, strict=True):
        owners = oriented_slice(_numbers(labels, box, index, mask.shape, view.slice_axis), 0, view)[part]
        size = panel_size(owners.shape, view, longest=400 if len(chosen) <= 2 else 240)
        picture = windowed_picture(plane[part], low, high, size)
        heat = heat_picture(picture, oriented_slice(score, index, view)[part], result.threshold)
        outlined = _marked(outlined_picture(picture, owners > 0), owners)
        caption = slice_caption(scan, view.slice_axis, index, float(peak[index]))
        pixel_mm = owners.shape[1] * view.pixel_mm[1] / size[0] if scan.has_physical_space else None
        shown.append(ShownSlice(caption, (picture, heat, outlined), pixel_mm))
    return shown


def slice_caption(scan: Scan, slice_axis: int, index: int, peak: float) -> str:
    """What stands over a slice: its index, in a DICOM series the number that viewers show, and its highest score.

    Args:
        scan: Of the slice.
        slice_axis: Array axis of the slicing.
        index: Of the slice.
        peak: Its highest score.
    """
    parts = [f"{'ijk'[slice_axis]} = {index}"]
    numbers = scan.source.instance_numbers
    if slice_axis == 2 and index < len(numbers) and numbers[index] is not None:
        parts.append(f"instance {numbers[index]}")
    return SEPARATOR.join([*parts, f"max {peak:.2f}"])


def _planes(
    chosen: Sequence[int], scan: Scan, result: CaseResult, view: View, slice_images: SliceImages | None
) -> tuple[list[NDArray[Any]], tuple[float, float]]:
    if slice_images is None:
        return [oriented_slice(scan.voxels, index, view) for index in chosen], _window(result, scan)
    given = (np.expand_dims(slice_images(index), view.slice_axis) for index in chosen)
    return [oriented_slice(plane, 0, view) for plane in given], (0.0, 1.0)


def _worth_showing(levels: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_]]) -> tuple[slice, slice]:
    """Rows and columns, the same for all slices, without the dark border around the body."""
    bright = np.any([(level if level.ndim == 2 else level.max(axis=-1)) > 0.1 for level in levels], axis=0)
    inside = np.any(masks, axis=0)
    parts = []
    for axis in (1, 0):
        # One pixel in a hundred, so that noise in the air does not count.
        places = np.flatnonzero((bright.mean(axis=axis) > 0.01) | inside.any(axis=axis))
        length = bright.shape[1 - axis]
        margin = max(2, length // 20)
        first, last = (int(places[0]), int(places[-1])) if len(places) else (0, length - 1)
        parts.append(slice(max(0, first - margin), min(length, last + margin + 1)))
    return parts[0], parts[1]


def _numbers(
    labels: NDArray[np.int32], box: tuple[slice, slice, slice], index: int, shape: tuple[int, ...], axis: int
) -> NDArray[np.int32]:
    """Lesion numbers of one slice, one voxel thick; `labels` cover only the box around all lesions."""
    slab = np.zeros(tuple(1 if place == axis else side for place, side in enumerate(shape)), dtype=np.int32)
    if box[axis].start <= index < box[axis].stop:
        inner = index - box[axis].start
        target = tuple(slice(None) if place == axis else part for place, part in enumerate(box))
        source = tuple(slice(inner, inner + 1) if place == axis else slice(None) for place in range(3))
        slab[target] = labels[source]
    return slab


def _window(result: CaseResult, scan: Scan) -> tuple[float, float]:
    low, high = result.window.get("low"), result.window.get("high")
    if low is not None and high is not None and low < high:
        return float(low), float(high)
    if scan.voxels.ndim == 4:
        return 0.0, 255.0
    low, high = np.percentile(scan.voxels[::2, ::2, ::2], [0.5, 99.5])
    return float(low), float(high)


def _marked(picture: Image.Image, owners: NDArray[np.int32]) -> Image.Image:
    """The picture with the number of each lesion beside it; the smallest are left out where there is no room."""
    draw = ImageDraw.Draw(picture)
    taken: list[tuple[float, float]] = []
    radius = 10
    for number in np.unique(owners[owners > 0])[:MOST_MARKERS]:
        y, x = np.nonzero(scaled_mask(owners == number, picture.size))
        if not len(x):
            continue
        place = _free_place(x, y, picture.size, radius, taken)
        if place is None:
            continue
        taken.append(place)
        nearest = int(np.argmin((x - place[0]) ** 2 + (y - place[1]) ** 2))
        draw.line([place, (int(x[nearest]), int(y[nearest]))], fill=OUTLINE_COLOR, width=1)
        _dot(draw, place, radius, str(number))
    return picture


def _free_place(
    x: NDArray[np.intp], y: NDArray[np.intp], size: tuple[int, int], radius: int, taken: Sequence[tuple[float, float]]
) -> tuple[float, float] | None:
    away = radius + 8
    corners = [(x.max() + away, y.min() - away), (x.min() - away, y.min() - away),
               (x.max() + away, y.max() + away), (x.min() - away, y.max() + away)]  # fmt: skip
    for corner in corners:
        place = tuple(
            float(np.clip(value, radius + 2, max(radius + 2, side - radius - 3)))
            for value, side in zip(corner, size, strict=True)
        )
        if all(np.hypot(place[0] - other[0], place[1] - other[1]) > 2 * radius + 2 for other in taken):
            return (place[0], place[1])
    return None


def _dot(draw: ImageDraw.ImageDraw, place: tuple[float, float], radius: int, text: str) -> None:
    x, y = place
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=OUTLINE_COLOR, outline=BACKGROUND)
    draw.text(place, text, font=font(13), fill=BACKGROUND, anchor="mm")
