"""Which scans there are under the given paths, each with a verdict; only headers are read."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from medzsad.errors import ConfigError, ReasonCode, RefusedError
from medzsad.scan.dicom.copies import copies_note, without_copies
from medzsad.scan.dicom.damaged_marks import stray_problem
from medzsad.scan.dicom.headers import FileHeader, looks_like_dicom, read_header
from medzsad.scan.dicom.series import group_by_series, judge_series
from medzsad.scan.dicom.series_labels import series_label
from medzsad.scan.guard import refusing
from medzsad.scan.itk import peek_itk
from medzsad.scan.names import file_case_name, series_name, unique_names
from medzsad.scan.nifti import peek_nifti
from medzsad.scan.picture import peek_picture
from medzsad.scan.records import Candidate, Candidates, Peek, ReadLimits, SourceKind, chosen_frames
from medzsad.scan.too_few_slices import checked_count
from medzsad.scan.walk import Found, walk

_ENDINGS: dict[str, SourceKind] = {
    ".nii": "nifti", ".nii.gz": "nifti", ".hdr": "nifti", ".mgh": "nifti", ".mgz": "nifti",
    ".nrrd": "itk", ".nhdr": "itk", ".mha": "itk", ".mhd": "itk",
    ".png": "picture", ".jpg": "picture", ".jpeg": "picture", ".tif": "picture", ".tiff": "picture", ".bmp": "picture",
    ".dcm": "dicom", ".dicom": "dicom",
}  # fmt: skip
_PEEK: dict[SourceKind, Callable[[Path, str, ReadLimits], Peek]] = {
    "nifti": peek_nifti,
    "itk": peek_itk,
    "picture": peek_picture,
}
_FORMATS = "DICOM, NIfTI, MGH, NRRD, MetaImage, PNG, JPEG, TIFF, BMP, zip or tar"
_CONVERTERS = {".head": "3dAFNItoNIFTI", ".brik": "3dAFNItoNIFTI", ".mif": "mrconvert", ".mnc": "mnc2nii"}

_START_BYTES = 132  # of DICOM up to its mark

_log = logging.getLogger(__name__)


def discover(
    paths: Sequence[Path],
    *,
    limits: ReadLimits,
    series: Sequence[str] = (),
    frame: int | None = None,
    all_frames: bool = False,
    unpack_dir: Path | None = None,
) -> Candidates:
    """Every series and every file under the paths, eligible or refused, in a fixed order; and what is none of these.

    Args:
        paths: Folders (searched recursively), files and archives.
        limits: What reading may cost and tolerate.
        series: Keep only these: SeriesInstanceUID or its beginning, SeriesNumber, or case name.
        frame: Index along the fourth axis, for files that have one.
        all_frames: Whether each index along the fourth axis becomes a candidate.
        unpack_dir: Where archives are unpacked to; they are refused without it.

    Raises:
        ConfigError: A path does not exist, or `series` names nothing that is there.
    """
    candidates, passed_over = _candidates(paths, limits, frame, all_frames, unpack_dir)
    candidates.sort(key=lambda candidate: (candidate.label, candidate.name))
    labels = [candidate.label for candidate in candidates]
    names = unique_names([candidate.name for candidate in candidates], labels)
    named = [replace(candidate, name=name) for candidate, name in zip(candidates, names, strict=True)]
    used = {file for candidate in candidates for file in candidate.files}
    not_understood = sorted(found.label for found in passed_over if found.path not in used)
    for label in not_understood:
        _log.info("Not understood: %s", label)
    return Candidates(_selected(named, series) if series else named, not_understood)


def _candidates(
    paths: Sequence[Path], limits: ReadLimits, frame: int | None, all_frames: bool, unpack_dir: Path | None
) -> tuple[list[Candidate], list[Found]]:
    candidates: list[Candidate] = []
    headers: list[tuple[FileHeader, Found]] = []
    stumps: list[tuple[Candidate, Found]] = []
    passed_over: list[Found] = []
    for found in walk(paths, limits, unpack_dir):
        if found.refusal is not None:
            candidates.append(_refused(found, found.refusal))
            continue
        try:
            kind = _kind(found)
            if kind == "dicom":
                headers.append((read_header(found.path, found.label), found))
            elif kind is not None:
                candidates += _file_candidates(found, kind, limits, frame, all_frames)
            elif stump := _stump(found):
                stumps.append((stump, found))
            else:
                passed_over.append(found)
        except RefusedError as error:
            if _only_resembles_dicom(found):
                passed_over.append(found)
            else:
                candidates.append(_refused(found, error))
        except Exception as error:  # noqa: BLE001  (a fault of ours costs one case; read_scan raises it again)
            candidates.append(replace(_plain(found), fault=error))
    candidates += _dicom_candidates(headers, limits, frame, all_frames)
    with_images = {header.file.parent for header, _ in headers if not header.is_directory}
    for stump, found in stumps:
        beside = found.path.parent in with_images
        candidates += [stump] if beside else []
        passed_over += [] if beside else [found]
    return candidates, [found for found in passed_over if not found.path.name.startswith(".")]


def _ending(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _only_resembles_dicom(found: Found) -> bool:
    """Whether a file in a folder merely begins like DICOM without preamble: then it is none of ours."""
    if found.explicit or found.refusal is not None or _ending(found.path) in _ENDINGS:
        return False
    try:
        return not looks_like_dicom(found.path, need_preamble=True)
    except OSError:
        return False


def _kind(found: Found) -> SourceKind | None:
    """The format of a file, None if it is none of ours and lies in a folder.

    Raises:
        RefusedError: The file is empty, unreadable, or unknown and named explicitly.
    """
    path, kind = found.path, _ENDINGS.get(_ending(found.path))
    if found.absent:
        return None
    with refusing(found.label, problem="cannot be opened"):
        is_file, size = path.is_file(), path.stat().st_size
        start = _start(path) if is_file else b""
    if not is_file:
        raise RefusedError(ReasonCode.FILE_UNREADABLE, f"{found.label} is not a file. Leave it out.")
    if size == 0 and (kind or found.explicit):
        raise RefusedError(ReasonCode.FILE_EMPTY, f"{found.label} is empty (0 bytes). Fetch it again.")
    is_dicom = looks_like_dicom(path, need_preamble=kind not in (None, "dicom"))
    is_header = _ending(path) != ".hdr" or _is_analyze_header(start)
    if is_dicom or kind == "dicom":
        return "dicom"
    if kind is not None and is_header:
        return kind
    if _ending(path) == ".img" and path.with_suffix(".hdr").is_file():
        return "nifti" if found.explicit else None  # in a folder the header file stands for the pair
    if found.explicit:
        remedy = f"with {_CONVERTERS[_ending(path)]}, say" if _ending(path) in _CONVERTERS else "first"
        message = f"{found.label} is none of {_FORMATS}. Convert it {remedy}."
        raise RefusedError(ReasonCode.FILE_UNREADABLE, message)
    return None


def _stump(found: Found) -> Candidate | None:
    """The refusal of a file of no kind that is probably a slice of the DICOM files beside it."""
    problem = "" if found.absent else stray_problem(found.path, found.label)
    if not problem:
        return None
    empty = found.path.stat().st_size == 0
    message = (
        f"{found.label} {problem}. It lies among DICOM files, so it is probably a slice that was cut or damaged."
        " Fetch it again, or delete it if it does not belong to the series."
    )
    code = ReasonCode.FILE_EMPTY if empty else ReasonCode.FILE_UNREADABLE
    return _refused(found, RefusedError(code, message))


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_START_BYTES)


def _is_analyze_header(start: bytes) -> bool:
    return 348 in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))


def _file_candidates(
    found: Found, kind: SourceKind, limits: ReadLimits, frame: int | None, all_frames: bool
) -> list[Candidate]:
    peek = _PEEK[kind](found.path, found.label, limits)
    base = Candidate(
        name=file_case_name(found.path.name),
        kind=kind,
        files=(found.path, *peek.data_files),
        label=found.label,
        modality=peek.modality,
        shape=peek.shape,
        spacing_mm=peek.spacing_mm,
    )
    base = checked_count(base, min(peek.shape), limits)
    if base.code is not None:
        return [base]
    if peek.frames == 1:
        return [base]
    try:
        frames = chosen_frames(found.label, peek.frames, frame, all_frames)
    except RefusedError as error:
        return [replace(base, code=error.code, reason=str(error))]
    return [replace(base, name=f"{base.name}-f{n:03d}", frame=n) for n in frames]


def _dicom_candidates(
    headers: Sequence[tuple[FileHeader, Found]], limits: ReadLimits, frame: int | None, all_frames: bool
) -> list[Candidate]:
    found_of = {header.file: found for header, found in headers}
    images = [header for header, _ in headers if not header.is_directory]
    candidates: list[Candidate] = []
    for group in group_by_series(images).values():
        label = _series_label([found_of[header.file] for header in group])
        try:
            kept, copies = without_copies(group, label)
        except RefusedError as error:
            candidates.append(replace(_plain_series(group, label), code=error.code, reason=str(error)))
            continue
        label = _series_label([found_of[header.file] for header in kept])
        try:
            judged = judge_series(kept, label, limits, frame=frame, all_frames=all_frames)
        except Exception as error:  # noqa: BLE001  (see _candidates)
            judged = [replace(_plain_series(kept, label), fault=error)]
        candidates += [replace(one, notes=(*one.notes, *copies_note(one.files, copies))) for one in judged]
    return candidates


def _plain_series(group: Sequence[FileHeader], label: str) -> Candidate:
    return Candidate(
        name=series_name(group[0].series_uid or label),
        kind="dicom",
        files=tuple(header.file for header in group),
        label=label,
        series_uid=group[0].series_uid or None,
    )


def _series_label(found: Sequence[Found]) -> str:
    if len(found) == 1:
        return found[0].label
    return series_label([one.path for one in found], [one.label for one in found])


def _selected(candidates: Sequence[Candidate], series: Sequence[str]) -> list[Candidate]:
    chosen: set[int] = set()
    for wish in series:
        hits = {index for index, candidate in enumerate(candidates) if _matches(candidate, wish)}
        if not hits:
            there = "; ".join(_described(candidate) for candidate in candidates) or "nothing"
            raise ConfigError(f"--series {wish} matches nothing. There is: {there}.")
        chosen |= hits
    return [candidates[index] for index in sorted(chosen)]


def _matches(candidate: Candidate, wish: str) -> bool:
    by_number = wish.isdecimal() and candidate.series_number == int(wish)
    by_uid = "." in wish and (candidate.series_uid or "").startswith(wish)
    return by_number or by_uid or wish in (candidate.name, candidate.series_uid)


def _described(candidate: Candidate) -> str:
    number = "" if candidate.series_number is None else f", SeriesNumber {candidate.series_number}"
    uid = f", {candidate.series_uid}" if candidate.series_uid else ""
    return f"{candidate.name} ({candidate.label}{number}{uid})"


def _refused(found: Found, error: RefusedError) -> Candidate:
    return replace(_plain(found), code=error.code, reason=str(error))


def _plain(found: Found) -> Candidate:
    return Candidate(
        name=file_case_name(found.path.name),
        kind=_ENDINGS.get(_ending(found.path), "unknown"),
        files=(found.path,),
        label=found.label,
    )
