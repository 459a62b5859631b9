"""The way of a slice to the model and back as MONAI transforms, for pipelines that are put together with MONAI.

`medzsad run` calls the same arithmetic without MONAI, because importing any part of MONAI imports all of it and takes
about as long as everything else before the first slice; `tests/slices/test_transforms.py` holds the two equal to the
bit.
"""

from typing import Any

from monai.data import MetaTensor
from monai.transforms import Compose, InvertibleTransform, NormalizeIntensity, ScaleIntensityRange
from torch import Tensor

from medzsad.config import ResizeRule
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD, SlicePlan, SquarePlane
from medzsad.slices.window import Window


class ToSquare(InvertibleTransform):  # type: ignore[misc]
    """`SquarePlane` as a MONAI transform, whose inverse knows the size of the planes that it was given.

    Args:
        square: What is done.
    """

    def __init__(self, square: SquarePlane) -> None:
        super().__init__()
        self.square = square

    def __call__(self, data: Tensor) -> Tensor:
        """The planes (C, H, W) as (C, size, size)."""
        out: Tensor = MetaTensor(self.square(_plain(data)))
        self.push_transform(out, orig_size=tuple(data.shape[-2:]))
        return out

    def inverse(self, data: Tensor) -> Tensor:
        """The squares (C, size, size) as (C, H, W)."""
        info: dict[str, Any] = self.pop_transform(data)
        height, width = (int(side) for side in info["orig_size"])
        return self.square.inverse(_plain(data), (height, width))


def slice_transform(plan: SlicePlan, window: Window, size: int, rule: ResizeRule) -> Compose:
    """The transform of one gray slice (1, H, W) in units of the scan to (1, size, size) in [0, 1]; it inverts.

    Args:
        plan: How the scan is sliced; its pixel sizes count.
        window: Values that become black and white.
        size: Side of the model's square in pixels.
        rule: `fit` keeps millimeters true and pads, `stretch` fills the square.
    """
    square = SquarePlane(size, rule, plan.pixel_mm)
    return Compose([ScaleIntensityRange(window.low, window.high, 0.0, 1.0, clip=True), ToSquare(square)])


def clip_normalization() -> NormalizeIntensity:
    """The normalization of three-channel planes (3, H, W) in [0, 1] with CLIP's mean and deviation."""
    return NormalizeIntensity(subtrahend=CLIP_MEAN, divisor=CLIP_STD, channel_wise=True)


def _plain(data: Tensor) -> Tensor:
    return data.as_tensor() if isinstance(data, MetaTensor) else data
