"""One NIfTI, Analyze or FreeSurfer (MGH) file -> Scan, through nibabel."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.geometry import FloatArray, spans_volume
from medzsad.scan.guard import check_size, refusing
from medzsad.scan.labels import said_labels
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate, Peek, ReadLimits, Scan, Source

_RGB = ("R", "G", "B")
_OTHER_UNITS = {1: ("meter", 1000.0), 3: ("micron", 0.001)}  # NIFTI_UNITS_METER, NIFTI_UNITS_MICRON, and their mm
_LABEL_INTENTS = {1002: "LABEL", 1003: "NEURONAME"}  # nifti1.h, NIFTI_INTENT_*


def peek_nifti(path: Path, place: str, limits: ReadLimits) -> Peek:
    """The grid of a file by its header.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT, NOT_AN_IMAGE, LOOKS_LIKE_LABELS or GEOMETRY_MISSING.
    """
    image, shape, frames = _checked_image(path, place, limits)
    affine_ras, _ = _affine_ras(image, place)
    data_files = _data_files(image, path, place)
    i, j, k = np.linalg.norm(affine_ras[:3, :3], axis=0)
    return Peek(shape=shape, spacing_mm=(float(i), float(j), float(k)), frames=frames, data_files=data_files)


def read_nifti(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan of one file: voxels in the axis order of the file, scl_slope applied, affine in mm.

    Raises:
        RefusedError: FILE_UNREADABLE, SIZE_LIMIT, NOT_AN_IMAGE, LOOKS_LIKE_LABELS, SERIES_4D or GEOMETRY_MISSING.
    """
    path, place = candidate.files[0], candidate.label
    image, shape, frames = _checked_image(path, place, limits)
    affine_ras, notes = _affine_ras(image, place)
    if frames > 1 and (candidate.frame is None or not 0 <= candidate.frame < frames):
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {frames} frames. Choose one with --frame 0 to {frames - 1}, or --all-frames.",
        )
    return Scan(
        name=candidate.name,
        voxels=_voxels(image, shape, candidate.frame if frames > 1 else None, place),
        affine_ras=affine_ras,
        modality=candidate.modality,
        acquisition_axis=_slice_axis(image),
        source=Source(
            kind="nifti",
            files=candidate.files,
            nifti_header=image.header.copy() if isinstance(image, nib.Nifti1Pair) else None,
            frame=candidate.frame,
        ),
        notes=notes,
    )


def _checked_image(path: Path, place: str, limits: ReadLimits) -> tuple[Any, tuple[int, int, int], int]:
    """The image with its voxels not read, its grid, and the length of its fourth axis."""
    with refusing(place):
        image = nib.load(path)
    if not isinstance(image, nib.AnalyzeImage | nib.MGHImage):
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE, f"{place} is {type(image).__name__}, not NIfTI. Convert it to NIfTI."
        )
    shape, frames = _grid_shape(image, place)
    check_size(place, int(np.prod(shape, dtype=object)), limits.max_voxels)
    _check_real(image, place)
    intent = int(image.header["intent_code"]) if isinstance(image, nib.Nifti1Pair) else 0
    if intent in _LABEL_INTENTS and not limits.allow_labels:
        raise said_labels(place, f"its intent code {intent} ({_LABEL_INTENTS[intent]})")
    return image, shape, frames


def _check_real(image: Any, place: str) -> None:
    with refusing(place):
        kind = image.get_data_dtype().kind
    if kind == "c":
        raise RefusedError(
            ReasonCode.NOT_AN_IMAGE,
            f"{place} holds complex numbers, which are not gray values. Save their magnitude as a file of its own.",
        )


def _grid_shape(image: Any, place: str) -> tuple[tuple[int, int, int], int]:
    sides = [int(n) for n in image.shape]
    if len(sides) < 2 or min(sides) < 1:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{place} has the shape {tuple(sides)} by its header. Check it or fetch it again.",
        )
    sides += [1] * (3 - len(sides))
    frames = int(np.prod(sides[3:], dtype=object)) if len(sides) > 3 else 1
    return (sides[0], sides[1], sides[2]), frames


def _data_files(image: Any, path: Path, place: str) -> tuple[Path, ...]:
    """The other files of a pair: the image of a header or the header of an image, and the .mat that SPM adds."""
    files = {part: Path(holder.filename) for part, holder in image.file_map.items() if holder.filename}
    if not files["image"].is_file():
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{place} lacks its data file {shown_name(files['image'].name)} beside it. Fetch it again.",
        )
    return tuple(sorted(file for file in files.values() if file != path and file.is_file()))


def _voxels(image: Any, shape: tuple[int, int, int], frame: int | None, place: str) -> NDArray[np.float32]:
    stored = _stored(image, frame, place)
    if stored.dtype.names:
        if not set(_RGB) <= set(stored.dtype.names):
            raise RefusedError(
                ReasonCode.NOT_AN_IMAGE, f"{place} holds values that are neither numbers nor RGB. Convert it first."
            )
        return np.stack([stored[channel] for channel in _RGB], axis=-1).reshape(*shape, 3).astype(np.float32)
    with np.errstate(all="ignore"):
        return np.asarray(stored, np.float32).reshape(shape)


def _stored(image: Any, frame: int | None, place: str) -> NDArray[Any]:
    """The values of one frame, read and scaled by nibabel."""
    extra = [int(n) for n in image.shape[3:]]
    index = (slice(None),) * 3 + tuple(int(n) for n in np.unravel_index(frame or 0, extra)) if extra else ()
    with refusing(place):
        if extra:
            return np.asarray(image.dataobj[index])
        if image.get_data_dtype().names:
            return np.asarray(image.dataobj)
        return np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))


def _affine_ras(image: Any, place: str) -> tuple[FloatArray, tuple[str, ...]]:
    """The affine in millimeters, whatever the unit of the file, and notes on it."""
    affine = np.array(image.affine, np.float64)
    notes: tuple[str, ...] = ()
    if isinstance(image, nib.Nifti1Pair):
        header = image.header
        unit, unit_mm = _OTHER_UNITS.get(int(header["xyzt_units"]) & 7, ("", 1.0))
        with np.errstate(over="ignore"):
            affine[:3] *= unit_mm
        sform, qform = int(header["sform_code"]), int(header["qform_code"])
        if sform > 0 and qform > 0:
            notes = _disagreement(header.get_sform(), header, image.shape, unit_mm)
        elif sform <= 0 and qform <= 0:
            notes = ("Neither sform nor qform is set: orientation is unknown, pixdim gives the spacing.",)
        if unit:
            notes = (*notes, f"Lengths are given in the unit {unit}; they were converted to millimeters.")
    elif isinstance(image, nib.AnalyzeImage):
        notes = ("Analyze format: left and right are not certain.",)
    if not spans_volume(affine):
        with np.errstate(all="ignore"):
            sizes = np.linalg.norm(affine[:3, :3], axis=0)
        raise RefusedError(
            ReasonCode.GEOMETRY_MISSING,
            f"{place} has an affine that spans no volume (column lengths {np.array2string(sizes, precision=4)})."
            " Set a valid sform or qform.",
        )
    return affine, notes


def _disagreement(sform: FloatArray, header: Any, shape: tuple[int, ...], unit_mm: float) -> tuple[str, ...]:
    """A note on how far sform and qform are apart at the corners of the grid."""
    try:
        qform = header.get_qform()
    except ValueError:
        return ("The qform is damaged; the sform is used.",)
    sides = np.array([*shape[:3], 1, 1][:3]) - 1
    corners = np.array([[*(np.array(bits) * sides), 1.0] for bits in np.ndindex(2, 2, 2)])
    with np.errstate(all="ignore"):
        apart_mm = unit_mm * float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    if apart_mm <= 0.01 * unit_mm * float(np.linalg.norm(sform[:3, :3], axis=0).min()) + 1e-3:
        return ()
    return (f"sform and qform disagree by up to {apart_mm:.2f} mm; the sform is used.",)


def _slice_axis(image: Any) -> int | None:
    if not isinstance(image, nib.Nifti1Pair):
        return None
    axis = image.header.get_dim_info()[2]
    return None if axis is None or axis > 2 else int(axis)


def scan_of_image(image: Any, name: str) -> Scan:
    """The scan of a nibabel image in memory, as if it had been read from its file.

    Raises:
        RefusedError: It is of another format, 4D, or has no usable affine.
    """
    shape, frames = _grid_shape(image, name)
    if frames > 1:
        raise RefusedError(ReasonCode.SERIES_4D, f"{name} has {frames} frames. Choose one with image.slicer[..., n].")
    _check_real(image, name)
    affine_ras, notes = _affine_ras(image, name)
    return Scan(
        name=name,
        voxels=_voxels(image, shape, None, name),
        affine_ras=affine_ras,
        modality="",
        acquisition_axis=_slice_axis(image),
        source=Source(kind="nifti", nifti_header=image.header.copy() if isinstance(image, nib.Nifti1Pair) else None),
        notes=notes,
    )
