"""PNG, JPEG, TIFF or BMP -> Scan of one slice, through Pillow."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import check_size, refusing
from medzsad.scan.peek import Peek
from medzsad.scan.records import Candidate, ReadLimits, Scan, Source

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION_TAG = 0x0112


def peek_picture(path: Path, place: str, limits: ReadLimits) -> Peek:
    """The size of a picture by its header.

    Raises:
        RefusedError: FILE_UNREADABLE or SIZE_LIMIT.
    """
    with refusing(place), Image.open(path, formats=_FORMATS) as picture:
        columns, rows = picture.size
        check_size(place, columns * rows, limits.max_voxels)
        if picture.getexif().get(_ORIENTATION_TAG, 1) >= 5:
            columns, rows = rows, columns
        return Peek(shape=(columns, rows, 1), spacing_mm=(1.0, 1.0, 1.0), frames=_pages(picture), modality="PICTURE")


def read_picture(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan of one picture: gray (i, j, 1) or color (i, j, 1, 3); 8-bit values run 0..255, deeper ones are kept.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT or SERIES_4D.
    """
    place = candidate.label
    with refusing(place), Image.open(candidate.files[0], formats=_FORMATS) as picture:
        check_size(place, picture.size[0] * picture.size[1], limits.max_voxels)
        pages = _pages(picture)
        if pages > 1:
            if candidate.frame is None or not 0 <= candidate.frame < pages:
                raise RefusedError(
                    ReasonCode.SERIES_4D,
                    f"{place} has {pages} pages. Choose one with --frame 0 to {pages - 1}, or --all-frames.",
                )
            picture.seek(candidate.frame)
            check_size(place, picture.size[0] * picture.size[1], limits.max_voxels)
        turned = picture.getexif().get(_ORIENTATION_TAG, 1) != 1
        values = _values(ImageOps.exif_transpose(picture) if turned else picture)
    return Scan(
        name=candidate.name,
        voxels=np.swapaxes(values, 0, 1)[:, :, None],  # (rows, columns) -> (i, j, 1)
        affine_ras=np.diag([-1.0, -1.0, 1.0, 1.0]),
        modality="PICTURE",
        acquisition_axis=2,
        source=Source(kind="picture", files=candidate.files, frame=candidate.frame),
        notes=("Turned as the EXIF orientation says.",) if turned else (),
    )


def _pages(picture: Image.Image) -> int:
    """Pages of a TIFF; the further pictures inside a JPEG (MPO) are previews."""
    return int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1


def _values(picture: Image.Image) -> NDArray[np.float32]:
    """The pixels (rows, columns) or (rows, columns, 3) as float32, transparency over black."""
    if picture.mode in _DEEP_MODES:
        return np.asarray(picture, np.float32)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"), np.float32)
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = np.asarray(picture.convert("RGBA"), np.float32)
        color = np.rint(layered[..., :3] * (layered[..., 3:] / 255.0))
    else:
        color = np.asarray(picture.convert("RGB"), np.float32)
    gray = np.array_equal(color[..., 0], color[..., 1]) and np.array_equal(color[..., 0], color[..., 2])
    return np.asarray(color[..., 0] if gray else color, np.float32)
