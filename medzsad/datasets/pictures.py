"""Decoding of images and masks."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medzsad.datasets.records import Record
from medzsad.errors import ConfigError

# What Pillow raises for files that are damaged, cut off, of no known format or suspiciously large.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")
_MOST_CODES = 8  # distinct values of a mask stored without loss; with more it may be a gray one
_LOWEST_WHITE = 64  # whole numbers below are labels, not shades


@contextmanager
def strict_pillow() -> Iterator[None]:
    """A context in which images of suspicious size raise and Pillow's remarks on metadata are silent.

    Filters of warnings belong to the process: enter it before threads start, not within them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_image(path: Path) -> Image.Image:
    """The image in RGB with 8 bits; see `read_picture`. Raises one of UNREADABLE."""
    with Image.open(path) as file:
        file.load()
        if file.mode.startswith("I") or file.mode == "F":
            return Image.fromarray(_eight_bits(np.asarray(file))).convert("RGB")
        if file.has_transparency_data or file.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            image = file.convert("LA").convert("RGBA") if file.mode == "La" else file.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
        return file.convert("RGB")


def decode_mask(path: Path) -> NDArray[np.bool_]:
    """The mask (height, width), True where a lesion is drawn; see `decode_any_mask`. Raises one of UNREADABLE."""
    return decode_any_mask(path)[0]


def decode_any_mask(path: Path) -> tuple[NDArray[np.bool_], bool]:
    """The mask (height, width), and whether it is a gray one that had to be cut. Raises one of UNREADABLE.

    A coded mask, of a few values such as 0 and 1, 0 and 255, or labels, is True above 0 in any color. JPEG and smoothed
    edges leave many values near 0 and near the maximum and a few between; such a mask is cut at half of its maximum.
    """
    with Image.open(path) as file:
        file.load()
        lossy = file.format in _LOSSY
        if file.mode.startswith("I") or file.mode == "F":
            levels = np.nan_to_num(np.asarray(file), posinf=0.0, neginf=0.0)
        elif file.mode in ("RGBA", "LA", "PA") or file.has_transparency_data:
            # Opacity is no defect: only the colors count.
            levels = np.asarray(file.convert("RGBA"))[..., :3].max(axis=2)
        else:
            levels = np.asarray(file.convert("RGB")).max(axis=2)
    gray = _is_gray(levels, lossy)
    return np.asarray(levels >= levels.max() / 2 if gray else levels > 0, dtype=np.bool_), gray


def _is_gray(levels: NDArray[np.generic], lossy: bool) -> bool:
    """Whether the values of a mask lie around 0 and its maximum, rather than being codes."""
    values, counts = np.unique(np.asarray(levels, np.float64), return_counts=True)
    top = float(values[-1])
    whole = bool(np.all(values == np.rint(values)))
    if values[0] < 0 or top <= 0 or len(values) <= (2 if lossy else _MOST_CODES) or (whole and top < _LOWEST_WHITE):
        return False
    low, high = values < top / 4, values > top * 3 / 4
    # Labels in even steps, and numbered lesions, have as much between as at the top.
    return int(counts[~low & ~high].sum()) <= int(counts[high].sum())


def record_mask(record: Record) -> NDArray[np.bool_]:
    """All masks of a record united, (height, width). Raises one of UNREADABLE, ValueError also for unlike sizes."""
    assert record.mask is not None
    united = decode_mask(record.mask)
    for path in record.more_masks:
        mask = decode_mask(path)
        if mask.shape != united.shape:
            raise ValueError(f"{path.name} has {mask.shape[1]}x{mask.shape[0]} pixels, unlike {record.mask.name}")
        united = united | mask
    return united


def read_picture(record: Record, side: int) -> tuple[Tensor, Tensor | None]:
    """Image (3, side, side) uint8 RGB and mask (side, side) uint8 of 0 and 1, both stretched to the square.

    The image is bicubic and antialiased; the mask is cut on the source (`decode_any_mask`), then
    bilinear, then above 0.5 (METHODS 0). It is all 0 for a sound image, and None for a defect without pixel label. Gray
    images of more than 8 bits are scaled by the range that holds their maximum (8, 12 or 16 bits); transparent pixels
    are black. Threads may call it; Pillow's warnings are the caller's, see `strict_pillow`.

    Raises:
        ConfigError: A file cannot be decoded, or the side is not positive.
    """
    if side < 1:
        raise ConfigError(f"The side of an image must be at least 1 pixel, not {side}.")
    path = record.image
    try:
        image = decode_image(path).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        if record.label == 0:
            return pixels, torch.zeros(side, side, dtype=torch.uint8)
        if record.mask is None:
            return pixels, None
        path = record.mask
        source = Image.fromarray(record_mask(record).astype(np.uint8) * 255)
        mask = np.asarray(source.resize((side, side), Image.Resampling.BILINEAR)) > 127
    except UNREADABLE as error:
        raise ConfigError(
            f"Cannot decode {path} ({error.__class__.__name__}: {error}). Replace the file, or leave it out; "
            "checking the data first (`medzsad train --check`, for training) lists all such files."
        ) from None
    return pixels, torch.from_numpy(mask.astype(np.uint8))


def _eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    values = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        scaled = values * 255
    elif low >= 0 and high <= 65535:
        # A 12-bit camera in a 16-bit file would be almost black if scaled by 65535.
        scaled = values * (255 / next(top for top in (255, 4095, 65535) if high <= top))
    else:
        scaled = (values - low) * (255 / max(high - low, 1e-12))
    return np.rint(scaled).astype(np.uint8)
