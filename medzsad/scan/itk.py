"""One NRRD or MetaImage file -> Scan, through SimpleITK."""

from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.detached import check_meta_data, data_file
from medzsad.scan.geometry import FloatArray, affine_ras_from_lps, spans_volume
from medzsad.scan.guard import check_size, refusing
from medzsad.scan.labels import said_labels
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate, Peek, ReadLimits, Scan, Source
from medzsad.scan.silence import quiet_itk

_IO = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
_SEGMENTATION = "Segment0_ID"  # 3D Slicer's name for the first region of a .seg.nrrd

quiet_itk()


def peek_itk(path: Path, place: str, limits: ReadLimits) -> Peek:
    """The grid of an NRRD or MetaImage file by its header.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT, NOT_AN_IMAGE, LOOKS_LIKE_LABELS, SERIES_4D or GEOMETRY_MISSING.
    """
    detached = data_file(path, place)
    reader, shape, frames = _header_reader(path, place, limits)
    affine_ras = _affine_ras(reader, place)
    i, j, k = np.linalg.norm(affine_ras[:3, :3], axis=0)
    data_files = () if detached is None else (detached,)
    return Peek(shape=shape, spacing_mm=(float(i), float(j), float(k)), frames=frames, data_files=data_files)


def read_itk(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan of one NRRD or MetaImage file, voxels in the axis order of the file.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT, NOT_AN_IMAGE, LOOKS_LIKE_LABELS, SERIES_4D or GEOMETRY_MISSING.
    """
    path, place = candidate.files[0], candidate.label
    detached = data_file(path, place)  # again, for the header may have changed since it was found
    reader, shape, frames = _header_reader(path, place, limits)
    affine_ras = _affine_ras(reader, place)
    if path.suffix.lower() in (".mha", ".mhd"):
        check_meta_data(path, detached, place)
    if frames > 1:
        frame = candidate.frame
        if frame is None or not 0 <= frame < frames:
            raise RefusedError(
                ReasonCode.SERIES_4D,
                f"{place} has {frames} frames. Choose one with --frame 0 to {frames - 1}, or --all-frames.",
            )
        reader.SetExtractSize([*shape, 0])
        reader.SetExtractIndex([0, 0, 0, frame])
    stored = _stored(reader, place)  # (k, j, i[, 3])
    if reader.GetNumberOfComponents() == 3:
        voxels = stored.reshape(*shape[::-1], 3).transpose(2, 1, 0, 3)
    else:
        voxels = stored.reshape(shape[::-1]).transpose(2, 1, 0)
    return Scan(
        name=candidate.name,
        voxels=voxels,
        affine_ras=affine_ras,
        modality=candidate.modality,
        acquisition_axis=None,
        source=Source(kind="itk", files=candidate.files, frame=candidate.frame),
    )


def _stored(reader: SimpleITK.ImageFileReader, place: str) -> NDArray[np.float32]:
    with refusing(place):
        stored = SimpleITK.GetArrayFromImage(reader.Execute())
    with np.errstate(all="ignore"):
        return np.asarray(stored, np.float32)


def _header_reader(
    path: Path, place: str, limits: ReadLimits
) -> tuple[SimpleITK.ImageFileReader, tuple[int, int, int], int]:
    """A reader that has read the header, the grid, and the length of the fourth axis."""
    if shown_name(path) != str(path):
        message = f"{place} has a name or folder that is not UTF-8, which this format cannot be read from. Rename it."
        raise RefusedError(ReasonCode.FILE_UNREADABLE, message)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_IO[path.suffix.lower()])
    reader.SetFileName(str(path))
    with refusing(place):
        reader.ReadImageInformation()
    shape, frames = _grid_shape(reader, place)
    check_size(place, int(np.prod(shape, dtype=object)), limits.max_voxels)
    _check_values(reader, place)
    if not limits.allow_labels and _SEGMENTATION in reader.GetMetaDataKeys():
        raise said_labels(place, f"the field {_SEGMENTATION} of its header")
    return reader, shape, frames


def _check_values(reader: SimpleITK.ImageFileReader, place: str) -> None:
    with refusing(place):
        kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise RefusedError(
            ReasonCode.NOT_AN_IMAGE,
            f"{place} holds complex numbers, which are not gray values. Save their magnitude as a file of its own.",
        )
    channels = reader.GetNumberOfComponents()
    if channels not in (1, 3):
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {channels} values per voxel; 1 (gray) or 3 (color) can be scored. Split it.",
        )


def _grid_shape(reader: SimpleITK.ImageFileReader, place: str) -> tuple[tuple[int, int, int], int]:
    sides = [int(n) for n in reader.GetSize()]
    if not 2 <= len(sides) <= 4:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE, f"{place} has {len(sides)} axes; 2, 3 or 4 can be read. Split it."
        )
    sides += [1] * (4 - len(sides))
    return (sides[0], sides[1], sides[2]), sides[3]


def _affine_ras(reader: SimpleITK.ImageFileReader, place: str) -> FloatArray:
    count = reader.GetDimension()
    kept = min(count, 3)
    direction = np.asarray(reader.GetDirection()).reshape(count, count)[:kept, :kept]
    affine_lps = np.eye(4)
    with np.errstate(all="ignore"):
        affine_lps[:kept, :kept] = direction * np.asarray(reader.GetSpacing())[:kept]
    affine_lps[:kept, 3] = np.asarray(reader.GetOrigin())[:kept]
    if not spans_volume(affine_lps):
        raise RefusedError(
            ReasonCode.GEOMETRY_MISSING, f"{place} has axes that span no volume. Set valid space directions."
        )
    return affine_ras_from_lps(affine_lps)
