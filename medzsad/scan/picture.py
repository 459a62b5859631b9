"""PNG, JPEG, TIFF or BMP -> Scan of one slice, through Pillow."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import check_size, refusing
from medzsad.scan.records import Candidate, Peek, ReadLimits, Scan, Source
from medzsad.scan.silence import quiet_tiff

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION_TAG = 0x0112

quiet_tiff()


def peek_picture(path: Path, place: str, limits: ReadLimits) -> Peek:
    """The size of a picture by its header. It has no spacing: dots per inch are the printer's.

    Raises:
        RefusedError: FILE_UNREADABLE or SIZE_LIMIT.
    """
    with _opened(path, place) as picture:
        columns, rows = picture.size
        check_size(place, columns * rows, limits.max_voxels)
        if _orientation(picture, place) >= 5:
            columns, rows = rows, columns
        return Peek(shape=(columns, rows, 1), spacing_mm=(), frames=_pages(picture, place), modality="PICTURE")


def read_picture(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan of one picture: gray (i, j, 1) or color (i, j, 1, 3); 8-bit values run 0..255, deeper ones are kept.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT or SERIES_4D.
    """
    place = candidate.label
    with _opened(candidate.files[0], place) as picture:
        check_size(place, picture.size[0] * picture.size[1], limits.max_voxels)
        pages = _pages(picture, place)
        if pages > 1:
            if candidate.frame is None or not 0 <= candidate.frame < pages:
                raise RefusedError(
                    ReasonCode.SERIES_4D,
                    f"{place} has {pages} pages. Choose one with --frame 0 to {pages - 1}, or --all-frames.",
                )
            with refusing(place):
                picture.seek(candidate.frame)
            check_size(place, picture.size[0] * picture.size[1], limits.max_voxels)
        turned = _orientation(picture, place) != 1
        with refusing(place):
            picture.load()
            upright = ImageOps.exif_transpose(picture) if turned else picture
        values = _values(upright, place)
    return Scan(
        name=candidate.name,
        voxels=np.swapaxes(values, 0, 1)[:, :, None],  # (rows, columns) -> (i, j, 1)
        affine_ras=np.diag([-1.0, -1.0, 1.0, 1.0]),
        modality="PICTURE",
        acquisition_axis=2,
        source=Source(kind="picture", files=candidate.files, frame=candidate.frame),
        notes=("Turned as the EXIF orientation says.",) if turned else (),
        has_physical_space=False,
    )


def _opened(path: Path, place: str) -> Image.Image:
    with refusing(place):
        return Image.open(path, formats=_FORMATS)


def _orientation(picture: Image.Image, place: str) -> int:
    with refusing(place):
        number = picture.getexif().get(_ORIENTATION_TAG, 1)
    return number if isinstance(number, int) else 1


def _pages(picture: Image.Image, place: str) -> int:
    """Pages of a TIFF; the further pictures inside a JPEG (MPO) are previews."""
    with refusing(place):
        return int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1


def _values(picture: Image.Image, place: str) -> NDArray[np.float32]:
    """The pixels (rows, columns) or (rows, columns, 3) as float32, transparency over black."""
    if picture.mode in _DEEP_MODES:
        return np.asarray(picture, np.float32)
    if picture.mode in ("1", "L"):
        return _converted(picture, "L", place)
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = _converted(picture, "RGBA", place)
        color = np.rint(layered[..., :3] * (layered[..., 3:] / np.float32(255.0)))
    else:
        color = _converted(picture, "RGB", place)
    gray = np.array_equal(color[..., 0], color[..., 1]) and np.array_equal(color[..., 0], color[..., 2])
    return np.asarray(color[..., 0] if gray else color, np.float32)


def _converted(picture: Image.Image, mode: str, place: str) -> NDArray[np.float32]:
    with refusing(place, problem=f"has colors of the kind {picture.mode}, which cannot be converted"):
        return np.asarray(picture.convert(mode), np.float32)
