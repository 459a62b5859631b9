"""MONAI transforms between a scan's volume and the square slices that the model sees; every one of them inverts."""

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, InvertibleTransform, NormalizeIntensity, ScaleIntensityRange
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
        pixel_mm: Size of a pixel (row step, column step) before resizing, in millimetres.
        slice_mm: Distance between slices, in millimetres.
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


class SquarePlane(InvertibleTransform):  # type: ignore[misc]
    """Resizes (C, H, W) planes to a square of `size` pixels, and back.

    `fit` keeps the millimetres true: the longer side fills the square, the rest is padded evenly with `fill`.
    `stretch` fills the square in both directions. Enlarging and shrinking are antialiased bicubic on the way in
    (PIL's kernel, as CLIP's own preprocessing) and bilinear on the way back, both with pixel areas aligned, so that
    a place keeps its position.
    """

    def __init__(self, size: int, rule: ResizeRule, pixel_mm: tuple[float, float], fill: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.rule = rule
        self.pixel_mm = pixel_mm
        self.fill = fill

    def __call__(self, data: Tensor) -> Tensor:
        """The planes as (C, size, size)."""
        height, width = data.shape[-2:]
        inner = self.inner_size(height, width)
        resized = interpolate(plain_tensor(data)[None], inner, mode="bicubic", antialias=True, align_corners=False)
        # Bicubic overshoots at edges; CLIP's own preprocessing clips there as well, by its 8-bit pictures.
        squared = pad(resized[0].clamp(0.0, 1.0), self._margins(inner), value=self.fill)
        out: Tensor = MetaTensor(squared)
        self.push_transform(out, orig_size=(height, width), extra_info={"inner": inner})
        return out

    def inverse(self, data: Tensor) -> Tensor:
        """The planes as (C, H, W), the padding cut away."""
        info: dict[str, Any] = self.pop_transform(data)
        height, width = (int(n) for n in info["orig_size"])
        inner = tuple(int(n) for n in info["extra_info"]["inner"])
        left, _, top, _ = self._margins(inner)
        kept = plain_tensor(data)[None, :, top : top + inner[0], left : left + inner[1]]
        # Without effect where the scan's pixels are the smaller ones, but slower there.
        shrinks = inner[0] > height or inner[1] > width
        planes: Tensor = interpolate(kept, (height, width), mode="bilinear", antialias=shrinks, align_corners=False)
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


def plane_transform(plan: SlicePlan, window: Window, size: int, rule: ResizeRule) -> Compose:
    """The transform of one slice (C, H, W), C = 1 or 3, in units of the scan -> (C, size, size) in [0, 1]."""
    return Compose(
        [
            ScaleIntensityRange(window.low, window.high, 0.0, 1.0, clip=True),
            SquarePlane(size, rule, plan.pixel_mm),
        ]
    )


def clip_normalize(planes: Tensor) -> Tensor:
    """The planes (1 or 3, ..., H, W) in [0, 1] as three channels, normalized with CLIP's mean and deviation."""
    normalize = NormalizeIntensity(subtrahend=CLIP_MEAN, divisor=CLIP_STD, channel_wise=True)
    # Contiguous, since the transform works channel by channel in place and expanded channels share their memory.
    return plain_tensor(normalize(plain_tensor(planes).expand(3, *planes.shape[1:]).contiguous()))


def plain_tensor(data: Tensor) -> Tensor:
    """The data as a torch.Tensor without MONAI's metadata."""
    return data.as_tensor() if isinstance(data, MetaTensor) else data
