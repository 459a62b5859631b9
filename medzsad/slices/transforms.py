"""Between a scan's volume and the square slices that the model sees, and back.

In plain torch: these are a scaling, a resize and a normalization, equal to MONAI's bit by bit (tests/slices), and
importing any part of MONAI imports all of it, which takes as long as torch itself.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from medzsad.config import Axis, ResizeRule
from medzsad.scan.records import Scan
from medzsad.slices.window import Window

# Mean and standard deviation of CLIP's training images (METHODS section 0).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# Array axes after orientation: (rows, columns, slices), each letter the direction in which the index grows.
# Axial slices show the anterior side on top and the patient's right on the left, as every reading station does.
_AXCODES = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPL"}
_PLANE_OF_CODE = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "L": "sagittal", "R": "sagittal"}


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """How a scan is cut.

    Attributes:
        axis: Array axis of the scan (0, 1, 2) along which slices are counted.
        plane: "axial", "coronal" or "sagittal": the anatomical plane nearest to the slices.
        axcodes: Orientation of the (row, column, slice) array, in nibabel's letters.
        pixel_mm: Size of a pixel (row step, column step) before resizing, in millimeters.
        slice_mm: Distance between slices, in millimeters.
        flipped: Whether slice 0 of the stack is the last index along `axis`.
    """

    axis: int
    plane: str
    axcodes: str
    pixel_mm: tuple[float, float]
    slice_mm: float
    flipped: bool


def plan_slices(scan: Scan, choice: Axis) -> SlicePlan:
    """How `scan` is cut along `choice`; "acquisition" is the axis whose slices have the best in-plane resolution."""
    codes = nib.aff2axcodes(scan.affine_ras)
    axis = (
        _acquisition_axis(scan, codes)
        if choice == "acquisition"
        else next(a for a in range(3) if _PLANE_OF_CODE[codes[a]] == choice)
    )
    plane = _PLANE_OF_CODE[codes[axis]]
    axcodes = _AXCODES[plane]
    # Spacing of the array axis that ends up as rows, columns and slices.
    spacing = [scan.spacing_mm[_axis_of(codes, letter)] for letter in axcodes]
    return SlicePlan(axis, plane, axcodes, (spacing[0], spacing[1]), spacing[2], flipped=codes[axis] != axcodes[2])


def _axis_of(codes: tuple[str, ...], letter: str) -> int:
    return next(a for a in range(3) if _PLANE_OF_CODE[codes[a]] == _PLANE_OF_CODE[letter])


def _acquisition_axis(scan: Scan, codes: tuple[str, ...]) -> int:
    if 1 in scan.shape:
        return scan.shape.index(1) if scan.acquisition_axis is None else scan.acquisition_axis
    coarsest = int(np.argmax(scan.spacing_mm))
    others = [s for a, s in enumerate(scan.spacing_mm) if a != coarsest]
    if scan.spacing_mm[coarsest] > 1.05 * max(others):
        return coarsest
    # Isotropic: the format's own slices if it knows them, else those of a thin slab, else axial ones.
    if scan.acquisition_axis is not None:
        return scan.acquisition_axis
    if 4 * min(scan.shape) < max(scan.shape):
        return int(np.argmin(scan.shape))
    return _axis_of(codes, "S")


@dataclass(frozen=True, slots=True)
class SquarePlane:
    """Resizes (C, H, W) planes to a square of `size` pixels, and back.

    `fit` keeps the millimeters true: the longer side fills the square, the rest is padded evenly with 0.
    `stretch` fills the square in both directions. Enlarging and shrinking are antialiased bicubic on the way in
    (PIL's kernel, as CLIP's own preprocessing) and bilinear on the way back, both with pixel areas aligned, so that
    a place keeps its position.
    """

    size: int
    rule: ResizeRule
    pixel_mm: tuple[float, float]

    def __call__(self, planes: Tensor) -> Tensor:
        """The planes as (C, size, size)."""
        height, width = planes.shape[-2:]
        inner = self.inner_size(height, width)
        resized = interpolate(planes[None], inner, mode="bicubic", antialias=True, align_corners=False)
        # Bicubic overshoots at edges; CLIP's own preprocessing clips there as well, by its 8-bit pictures.
        return pad(resized[0].clamp(0.0, 1.0), self._margins(inner))

    def inverse(self, squares: Tensor, shape: tuple[int, int]) -> Tensor:
        """The squares (C, size, size) as (C, H, W), `shape` being H and W; the padding is cut away."""
        inner = self.inner_size(*shape)
        left, _, top, _ = self._margins(inner)
        kept = squares[None, :, top : top + inner[0], left : left + inner[1]]
        # Without effect where the scan's pixels are the smaller ones, but slower there.
        shrinks = inner[0] > shape[0] or inner[1] > shape[1]
        planes: Tensor = interpolate(kept, shape, mode="bilinear", antialias=shrinks, align_corners=False)
        return planes[0]

    def inner_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that the planes of (height, width) take up inside the square."""
        if self.rule == "stretch":
            return (self.size, self.size)
        high_mm, wide_mm = height * self.pixel_mm[0], width * self.pixel_mm[1]
        scale = self.size / max(high_mm, wide_mm)
        return (max(1, round(high_mm * scale)), max(1, round(wide_mm * scale)))

    def _margins(self, inner: tuple[int, ...]) -> tuple[int, int, int, int]:
        top, left = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2
        return (left, self.size - inner[1] - left, top, self.size - inner[0] - top)


def oriented_view(volume: NDArray[np.float32], scan: Scan, plan: SlicePlan) -> NDArray[np.float32]:
    """The volume (i, j, k, ...) as (row, column, slice, ...) of a plan: a view of the same memory.

    Writing into the view of an empty volume is the inverse of the orientation. A view instead of MONAI's Orientation,
    which copies: at 512 x 512 x 300 a copy is 315 MB, and three of them would be alive at once.
    """
    turn = ornt_transform(io_orientation(scan.affine_ras), axcodes2ornt(tuple(plan.axcodes)))
    return np.asarray(apply_orientation(volume, turn))


def gray_levels(planes: Tensor, window: Window) -> Tensor:
    """The values of the scan as gray: 0 at and below the window's low end, 1 at and above its high end."""
    return ((planes - window.low) / (window.high - window.low)).clamp(0.0, 1.0)


def clip_normalize(planes: Tensor) -> Tensor:
    """The planes (1 or 3, ..., H, W) in [0, 1] as three channels, normalized with CLIP's mean and deviation."""
    channels = planes if len(planes) == 3 else planes.expand(3, *planes.shape[1:])
    moments = zip(channels, CLIP_MEAN, CLIP_STD, strict=True)
    # By plain numbers, channel by channel: to divide by a tensor of them may give another last bit.
    return torch.stack([(channel - mean) / deviation for channel, mean, deviation in moments])
