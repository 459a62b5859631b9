"""Defects made of noise on the object of a sound picture (METHODS I, object-attention anomaly generation)."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn.functional import interpolate

_BLOB_GRID = 7
_BLOB_QUANTILE = 0.88
_FEWEST_PIXELS = 20
_DRAWS = 50
# Standard deviation of the noise, as shares of the range of gray values.
_WEAKEST, _STRONGEST = 0.08, 0.33


def object_mask(image: Tensor) -> Tensor:
    """(H, W) bool, the object in a picture: what Otsu's threshold calls bright, its largest part, holes filled.

    Everything is the object of a picture of one single gray value.

    Args:
        image: (3, H, W) uint8.
    """
    gray = image.float().mean(dim=0).numpy()
    if gray.min() == gray.max():
        return torch.ones(gray.shape, dtype=torch.bool)
    parts, count = label(gray > threshold_otsu(gray))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    found: NDArray[np.bool_] = binary_fill_holes(parts == 1 + int(sizes.argmax()))
    return torch.from_numpy(found)


def object_noise(image: Tensor, source: torch.Generator, *, anywhere: bool = False) -> tuple[Tensor, Tensor]:
    """A picture with noise on a part of its object, (3, H, W) uint8, and where that is, (H, W) uint8 of 0 and 1.

    The part is where coarse Gaussian noise, enlarged, is among its highest 12 %; it has 20 pixels or more, unless the
    object is so small that 50 draws found none: then it is the whole object.

    Args:
        image: (3, H, W) uint8.
        source: Of the random numbers.
        anywhere: Take the whole picture for the object.
    """
    height, width = image.shape[1:]
    inside = torch.ones(height, width, dtype=torch.bool) if anywhere else object_mask(image)
    mask = inside
    for _ in range(_DRAWS):
        blobs = torch.randn(1, 1, _BLOB_GRID, _BLOB_GRID, generator=source)
        fine = interpolate(blobs, size=(height, width), mode="bicubic", align_corners=False)[0, 0]
        drawn = inside & (fine > torch.quantile(fine, _BLOB_QUANTILE))
        if int(drawn.sum()) >= _FEWEST_PIXELS:
            mask = drawn
            break
    strength = _WEAKEST + (_STRONGEST - _WEAKEST) * float(torch.rand((), generator=source))
    # Pictures of scans are gray: all three channels change alike.
    noise = 255 * strength * torch.randn(height, width, generator=source)
    changed = (image.float() + mask * noise).round().clamp(0, 255).to(torch.uint8)
    return changed, mask.to(torch.uint8)
