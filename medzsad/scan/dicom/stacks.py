"""Slice headers of one DICOM series, taken as a stack."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.headers import FileHeader, SliceHeader
from medzsad.scan.dicom.image_classes import SECONDARY_CAPTURE
from medzsad.scan.dicom.value_meaning import difference
from medzsad.scan.geometry import Stack, diagnose
from medzsad.scan.names import shown_name

_PROJECTIONS = frozenset([
    "CR", "DX", "MG", "US", "XA", "RF", "XC", "SC", "OT", "ES", "GM", "OP", "OPV", "SM", "IO", "PX", "RG", "NM", "DMS",
    "GMS", "IVUS", "BMD", "SMR", "HD", "DG", "LS", "TG",
])  # fmt: skip
_NUMBER = re.compile(r"[-+]?[0-9.]{1,16}([eE][-+]?[0-9]{1,3})?")
_CODE = re.compile(r"[A-Z0-9_]{1,16}")
_CODE_KEYWORDS = frozenset(
    ["ImageType", "FrameType", "ComplexImageComponent", "AcquisitionContrast", "ASLContext", "DiffusionDirectionality"]
)


def shows_one_image(header: FileHeader) -> bool:
    """Whether one slice is all there is to show: a projection, a picture, or several frames at one position."""
    if header.frames > 1:
        return len({one.position_lps_mm for one in header.slices}) == 1
    return header.modality in _PROJECTIONS or header.sop_class_uid.startswith(SECONDARY_CAPTURE)


def stands_alone(header: FileHeader) -> bool:
    """Whether a file is a scan of its own: a projection or picture, or several frames in one file."""
    placed = bool(header.slices) and header.slices[0].placed
    if header.frames > 1 or header.modality in ("CR", "DX", "MG"):
        return True
    return shows_one_image(header) and not placed


def slice_names(slices: Sequence[SliceHeader]) -> list[str]:
    """What messages call each slice: the file name, with the frame where a file holds several."""
    per_file = Counter(header.file for header in slices)
    return [
        shown_name(header.file.name) + (f" frame {header.frame}" if per_file[header.file] > 1 else "")
        for header in slices
    ]


def stack_of(slices: Sequence[SliceHeader], place: str, *, slice_thickness_mm: float = 0.0) -> Stack:
    """The geometry of the slices of one series.

    Args:
        slices: In any order.
        place: What messages call the series.
        slice_thickness_mm: Spacing of a single slice; 0 means unknown, which counts as 1 mm.

    Raises:
        RefusedError: GEOMETRY_MISSING or SERIES_MIXED_SIZE.
    """
    names = slice_names(slices)
    for header, name in zip(slices, names, strict=True):
        if not header.placed or min(header.pixel_spacing_mm) <= 0:
            raise RefusedError(
                ReasonCode.GEOMETRY_MISSING,
                f"{place} cannot be stacked: {name} has no ImagePositionPatient, ImageOrientationPatient or"
                " PixelSpacing. Use --allow-irregular to score each file on its own.",
            )
    stack = diagnose(
        [header.position_lps_mm for header in slices],
        [header.orientation for header in slices],
        names,
        pixel_mm=min(min(header.pixel_spacing_mm) for header in slices),
        default_spacing_mm=slice_thickness_mm or 1.0,
    )
    if stack.code != ReasonCode.GEOMETRY_MIXED_ORIENTATION:
        _check_size_is_common(slices, names, place)
    return stack


def _check_size_is_common(slices: Sequence[SliceHeader], names: Sequence[str], place: str) -> None:
    first = slices[0]
    for header, name in zip(slices, names, strict=True):
        same_spacing = all(
            abs(a - b) <= 1e-3 * a for a, b in zip(first.pixel_spacing_mm, header.pixel_spacing_mm, strict=True)
        )
        if (header.rows, header.columns) != (first.rows, first.columns) or not same_spacing:
            raise RefusedError(
                ReasonCode.SERIES_MIXED_SIZE,
                f"{place} mixes sizes: {names[0]} has {first.rows} x {first.columns} pixels of"
                f" {first.pixel_spacing_mm[0]:.4g} x {first.pixel_spacing_mm[1]:.4g} mm, {name} has {header.rows} x"
                f" {header.columns} of {header.pixel_spacing_mm[0]:.4g} x {header.pixel_spacing_mm[1]:.4g} mm."
                " Split the series into folders.",
            )


def check_values_are_common(slices: Sequence[SliceHeader], place: str) -> None:
    """Refuses slices whose values mean different things: in one volume some would come out wrong in silence.

    Raises:
        RefusedError: SERIES_MIXED_VALUES, with two of the slices and what they have.
    """
    firsts = {header.meaning: index for index, header in reversed(list(enumerate(slices)))}
    for one, other in combinations(sorted(firsts, key=firsts.__getitem__), 2):
        if differs := difference(one, other):
            names = slice_names(slices)
            raise RefusedError(
                ReasonCode.SERIES_MIXED_VALUES,
                f"{place} mixes values that cannot be compared: {names[firsts[one]]} has {differs[0]},"
                f" {names[firsts[other]]} has {differs[1]}. Split the series into folders.",
            )


def phases(slices: Sequence[SliceHeader]) -> list[tuple[str, list[SliceHeader]]]:
    """The slices split by the first tag that gives every position once in each part; empty if no tag does.

    Each part comes with `keyword value`, for the remark on it: of the value only numbers and codes, never text.
    """
    keywords = [keyword for keyword, _ in slices[0].marks]
    for keyword in keywords:
        parts: dict[str, list[SliceHeader]] = defaultdict(list)
        for header in slices:
            parts[dict(header.marks).get(keyword, "")].append(header)
        if len(parts) > 1 and all(_positions_differ(part) for part in parts.values()):
            return [(f"{keyword} {shown_mark(keyword, value)}", parts[value]) for value in sorted(parts, key=_numeric)]
    return []


def shown_mark(keyword: str, value: str) -> str:
    """The value of a tag as far as it is what the standard wants there; other text may name a patient."""
    allowed = _CODE if keyword in _CODE_KEYWORDS else _NUMBER
    return "/".join(part if allowed.fullmatch(part) else "?" for part in value.split("\\"))


def _positions_differ(slices: Sequence[SliceHeader]) -> bool:
    places = {tuple(round(value, 3) for value in header.position_lps_mm) for header in slices}
    return len(places) == len(slices)


def _numeric(text: str) -> tuple[float, str]:
    try:
        return (float(text), text)
    except ValueError:
        return (float("inf"), text)


def files_of(slices: Sequence[SliceHeader]) -> tuple[Path, ...]:
    """The files of the slices, each once, in their order."""
    return tuple(dict.fromkeys(header.file for header in slices))
