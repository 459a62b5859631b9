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
    """The mask (height, width), True where the source is above 0 in any color. Raises one of UNREADABLE."""
    with Image.open(path) as file:
        file.load()
        if file.mode.startswith("I") or file.mode == "F":
            return np.asarray(np.asarray(file) > 0, dtype=np.bool_)
        if file.mode in ("RGBA", "LA", "PA") or file.has_transparency_data:
            # Opacity is no defect: only the colors count.
            pixels = np.asarray(file.convert("RGBA"))[..., :3]
        else:
            pixels = np.asarray(file.convert("RGB"))
    return np.asarray(np.any(pixels > 0, axis=2), dtype=np.bool_)


def read_picture(record: Record, side: int) -> tuple[Tensor, Tensor | None]:
    """Image (3, side, side) uint8 RGB and mask (side, side) uint8 of 0 and 1, both stretched to the square.

    The image is bicubic and antialiased; the mask is above 0 on the source, then bilinear, then above 0.5 (METHODS 0).
    It is all 0 for a sound image, and None for a defect without pixel label. Gray images of more than 8 bits are
    scaled by the range that holds their maximum (8, 12 or 16 bits); transparent pixels are black. Threads may call it;
    Pillow's warnings are the caller's, see `strict_pillow`.

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
        source = Image.fromarray(decode_mask(path).astype(np.uint8) * 255)
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
