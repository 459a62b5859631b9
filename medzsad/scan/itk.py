"""One NRRD or MetaImage file -> Scan, through SimpleITK."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.detached import data_file
from medzsad.scan.geometry import FloatArray, affine_ras_from_lps
from medzsad.scan.guard import check_size, refusing
from medzsad.scan.names import shown_name
from medzsad.scan.peek import Peek
from medzsad.scan.records import Candidate, ReadLimits, Scan, Source

_IO = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}


def peek_itk(path: Path, place: str, limits: ReadLimits) -> Peek:
    """The grid of an NRRD or MetaImage file by its header.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT, SERIES_4D or GEOMETRY_MISSING.
    """
    with refusing(place), _quiet():
        detached = data_file(path, place)
        reader = _header_reader(path, place, limits)
        shape, frames = _grid_shape(reader)
        affine_ras = _affine_ras(reader, place)
    i, j, k = np.linalg.norm(affine_ras[:3, :3], axis=0)
    data_files = () if detached is None else (detached,)
    return Peek(shape=shape, spacing_mm=(float(i), float(j), float(k)), frames=frames, data_files=data_files)


def read_itk(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan of one NRRD or MetaImage file, voxels in the axis order of the file.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT, SERIES_4D or GEOMETRY_MISSING.
    """
    place = candidate.label
    with refusing(place), _quiet():
        data_file(candidate.files[0], place)  # again, for the header may have changed since it was found
        reader = _header_reader(candidate.files[0], place, limits)
        shape, frames = _grid_shape(reader)
        affine_ras = _affine_ras(reader, place)
        if frames > 1:
            frame = candidate.frame
            if frame is None or not 0 <= frame < frames:
                raise RefusedError(
                    ReasonCode.SERIES_4D,
                    f"{place} has {frames} frames. Choose one with --frame 0 to {frames - 1}, or --all-frames.",
                )
            reader.SetExtractSize([*shape, 0])
            reader.SetExtractIndex([0, 0, 0, frame])
        image = reader.Execute()
        stored = np.asarray(SimpleITK.GetArrayFromImage(image), np.float32)  # (k, j, i[, 3])
    channels = reader.GetNumberOfComponents()
    if channels == 3:
        voxels = stored.reshape(*shape[::-1], 3).transpose(2, 1, 0, 3)
    else:
        voxels = stored.reshape(shape[::-1]).transpose(2, 1, 0)
    source = Source(kind="itk", files=candidate.files, frame=candidate.frame)
    return Scan(
        name=candidate.name,
        voxels=voxels,
        affine_ras=affine_ras,
        modality=candidate.modality,
        acquisition_axis=None,
        source=source,
    )


def _header_reader(path: Path, place: str, limits: ReadLimits) -> SimpleITK.ImageFileReader:
    if shown_name(path) != str(path):
        message = f"{place} has a name or folder that is not UTF-8, which this format cannot be read from. Rename it."
        raise RefusedError(ReasonCode.FILE_UNREADABLE, message)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_IO[path.suffix.lower()])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    shape, _ = _grid_shape(reader)
    check_size(place, int(np.prod(shape, dtype=object)), limits.max_voxels)
    channels = reader.GetNumberOfComponents()
    if channels not in (1, 3):
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {channels} values per voxel; 1 (gray) or 3 (color) can be scored. Split it.",
        )
    return reader


def _grid_shape(reader: SimpleITK.ImageFileReader) -> tuple[tuple[int, int, int], int]:
    sides = [int(n) for n in reader.GetSize()]
    if not 2 <= len(sides) <= 4:
        raise ValueError
    sides += [1] * (4 - len(sides))
    return (sides[0], sides[1], sides[2]), sides[3]


def _affine_ras(reader: SimpleITK.ImageFileReader, place: str) -> FloatArray:
    count = reader.GetDimension()
    kept = min(count, 3)
    direction = np.asarray(reader.GetDirection()).reshape(count, count)[:kept, :kept]
    affine_lps = np.eye(4)
    affine_lps[:kept, :kept] = direction * np.asarray(reader.GetSpacing())[:kept]
    affine_lps[:kept, 3] = np.asarray(reader.GetOrigin())[:kept]
    sizes = np.linalg.norm(affine_lps[:3, :3], axis=0)
    if not np.isfinite(affine_lps).all() or sizes.min() < 1e-6 or abs(np.linalg.det(affine_lps[:3, :3] / sizes)) < 1e-3:
        raise RefusedError(
            ReasonCode.GEOMETRY_MISSING, f"{place} has axes that span no volume. Set valid space directions."
        )
    return affine_ras_from_lps(affine_lps)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps ITK's own warnings off the terminal."""
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
