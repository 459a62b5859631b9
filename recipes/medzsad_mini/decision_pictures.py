"""Pictures that a decision is fitted on: slices of phantoms as a viewer exports them, and pictures of other organs.

The slices are of another generator than the one that the weights learn from; the pictures of other organs are of the
same one, with seeds that no training draws, for there is no second generator of organs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from nibabel.orientations import io_orientation
from numpy.typing import NDArray
from PIL import Image

from medzsad.context.grid import canonical_spacing_mm, canonical_view
from medzsad.generator.images import FAMILIES, generate
from medzsad.scan.records import Scan, Source
from medzsad.slices.window import CT_WINDOWS
from medzsad.training.randomness import generator_for

SLICES = 2
_SIDES = (200, 512)
_ORGAN_SIDE = 224
_DRAWN = 4  # images of which one is taken
_ORGANS = 5  # first number of their random streams; trainings use 1 to 4
_TISSUE, _LEAST_TISSUE = 0.1, 0.15  # gray from which a pixel is tissue, and the share of them in a healthy slice
_LEAST_PIXELS = 12  # of a lesion


@dataclass(frozen=True, slots=True)
class LabeledScan:
    """A scan in the form that a decision is fitted on: `mask` is (i, j, k), True inside lesions."""

    scan: Scan
    mask: NDArray[np.bool_]


def slice_pictures(phantom: LabeledScan, seed: int) -> Iterator[LabeledScan]:
    """At most two slices along the acquisition axis as 8-bit pictures, seen as on a screen (nose or vertex up).

    Of a head with lesions those slices are taken that show one, of a healthy one those with enough tissue.

    Args:
        phantom: A volume; its mask is empty if it is healthy.
        seed: Chooses slices, window and size.
    """
    rng = np.random.default_rng([seed, _ORGANS])
    scan = phantom.scan
    axis = int(io_orientation(scan.affine_ras)[scan.acquisition_axis or 0, 0])
    volume, mask = canonical_view(scan.voxels, scan), canonical_view(phantom.mask, scan)
    low, high = _window(scan, rng)
    gray = np.clip((volume - low) / (high - low), 0.0, 1.0)
    others = tuple(other for other in range(3) if other != axis)
    if mask.any():
        places = np.flatnonzero(mask.sum(axis=others) >= _LEAST_PIXELS)
    else:
        places = np.flatnonzero((gray > _TISSUE).mean(axis=others) >= _LEAST_TISSUE)
    spacing = [canonical_spacing_mm(scan)[other] for other in others]
    side = float(rng.uniform(*_SIDES))
    for place in rng.permutation(places)[:SLICES]:
        parts = (_on_screen(np.take(array, place, axis=axis), spacing, side) for array in (gray, mask))
        yield _picture(f"{scan.name}_{place}", *parts)


def _window(scan: Scan, rng: np.random.Generator) -> tuple[float, float]:
    if scan.modality == "CT":
        center, width = CT_WINDOWS["brain"]
        return center - width / 2, center + width / 2
    low, high = np.percentile(scan.voxels, (0.5, rng.uniform(99.0, 99.9)))
    return float(low), float(max(high, low + 1e-6))


def _on_screen(plane: NDArray[np.generic], spacing_mm: list[float], side: float) -> NDArray[np.uint8]:
    """(rows, columns) of a plane whose axes point right, anterior or superior: pixels square, the longest side given.

    The patient's right is on the left, and anterior is on the left of a sagittal slice.
    """
    rows = np.flip(np.asarray(plane, np.float32).T)
    height, width = (count * mm for count, mm in zip(rows.shape, spacing_mm[::-1], strict=True))
    scale = side / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    resized = np.asarray(Image.fromarray(rows).resize(size, Image.Resampling.BILINEAR))
    return np.rint(255.0 * resized.clip(0.0, 1.0)).astype(np.uint8)


def organ_picture(seed: int, lesion: bool) -> LabeledScan:
    """A generated picture of another organ than a head, or of no organ in particular, with a lesion or without."""
    head = FAMILIES.index("scan")
    step = 0
    while True:
        source = generator_for(seed, _ORGANS, step)
        made = generate(_DRAWN, _ORGAN_SIDE, source, lesion_share=1.0 if lesion else 0.0, anatomies=1)
        wanted = torch.nonzero((made.families != head) & (made.labels == int(lesion)))[:, 0]
        if len(wanted):
            index = int(wanted[0])
            image = (255.0 * made.images[index].permute(1, 2, 0)).round().numpy().astype(np.uint8)
            gray = bool((image == image[..., :1]).all())
            mask = (255.0 * made.masks[index]).numpy().astype(np.uint8)
            return _picture(f"organ_{seed}", image[..., 0] if gray else image, mask)
        step += 1


def _picture(name: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> LabeledScan:
    """As `medzsad.scan.picture` reads an image (rows, columns) or (rows, columns, 3)."""
    scan = Scan(
        name=name,
        voxels=np.swapaxes(image, 0, 1)[:, :, None].astype(np.float32),
        affine_ras=np.diag([-1.0, -1.0, 1.0, 1.0]),
        modality="PICTURE",
        acquisition_axis=2,
        source=Source(kind="array"),
        has_physical_space=False,
    )
    return LabeledScan(scan, (mask > 127).T[:, :, None])
