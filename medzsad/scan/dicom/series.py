"""From the headers of DICOM files to candidates: which series there are, and whether each can be scored."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.contrasts import contrasts, listed
from medzsad.scan.dicom.headers import FileHeader, SliceHeader
from medzsad.scan.dicom.irregular import slice_places
from medzsad.scan.dicom.stacks import (
    check_values_are_common,
    files_of,
    phases,
    shows_one_image,
    stack_of,
    stands_alone,
)
from medzsad.scan.geometry import Stack
from medzsad.scan.guard import check_size
from medzsad.scan.names import series_name, shown_name
from medzsad.scan.records import Candidate, ReadLimits, chosen_frames
from medzsad.scan.too_few_slices import checked_count, let_through

_MOST_FRAMES = 100_000
_MOSAIC = (
    "{} holds mosaics: each image shows all slices of a volume side by side. Convert the series to NIfTI or to"
    " one image per slice."
)


def judge_series(
    headers: Sequence[FileHeader],
    label: str,
    limits: ReadLimits,
    *,
    frame: int | None = None,
    all_frames: bool = False,
) -> list[Candidate]:
    """The candidates that the files of one SeriesInstanceUID make, each with verdict and reason.

    Args:
        headers: All files with that SeriesInstanceUID.
        label: What the user is shown as the place of the series.
        limits: Size limit, fewest slices, and whether irregular stacks are let through.
        frame: Frame to take from files with time points.
        all_frames: Whether each time point becomes a candidate.
    """
    first = headers[0]
    base = Candidate(
        name=series_name(first.series_uid or label),
        kind="dicom",
        files=tuple(header.file for header in headers),
        label=label,
        series_uid=first.series_uid or None,
        modality=first.modality,
        series_number=first.series_number,
        description=first.description,
        study_uid=first.study_uid,
        frame_of_reference=first.frame_of_reference_uid,
    )
    if any(header.mosaic for header in headers):
        return [_refused(base, ReasonCode.SERIES_MOSAIC, _MOSAIC.format(label))]
    images = [header for header in headers if header.slices]
    others = [header for header in headers if not header.slices]
    candidates = [_not_an_image(base, others, bool(images))] if others else []
    localizers = [header for header in images if "LOCALIZER" in header.image_type]
    images = [header for header in images if "LOCALIZER" not in header.image_type]
    if localizers:
        candidates.append(_localizer(base, localizers, len(images)))
    alone = [header for header in images if stands_alone(header)]
    stacked = [header for header in images if not stands_alone(header)]
    for header in alone:
        single = len(alone) == 1 and not stacked
        one = _with_files(base if single else _apart(base, header), [header])
        candidates += _judge_file(one, header, limits, frame, all_frames)
    if stacked:
        candidates += _judge_files(_with_files(base, stacked), stacked, limits)
    return candidates


def _judge_file(
    base: Candidate, header: FileHeader, limits: ReadLimits, frame: int | None, all_frames: bool
) -> list[Candidate]:
    """A file that stands alone: one picture, a film, or an enhanced multi-frame image."""
    if header.undecodable:
        return [_refused(base, ReasonCode.PIXELS_NOT_DECODABLE, f"{base.label} {header.undecodable}")]
    if header.frames == 1:
        return [_judge_slices(base, header.slices, header, limits)]
    parts = [[header.slices[0]]] * min(header.frames, _MOST_FRAMES) if header.film else contrasts(header.slices)
    if len(parts) == 1:
        return [_judge_slices(base, parts[0], header, limits)]
    try:
        frames = chosen_frames(base.label, len(parts), frame, all_frames)
    except RefusedError as error:
        return [_refused(base, error.code, f"{error}{'' if header.film else listed(parts)}")]
    return [
        _judge_slices(replace(base, name=f"{base.name}-f{n:03d}", frame=n), parts[n], header, limits) for n in frames
    ]


def _judge_files(base: Candidate, headers: Sequence[FileHeader], limits: ReadLimits) -> list[Candidate]:
    """Files of one slice each that should make a stack."""
    undecodable = next((header.undecodable for header in headers if header.undecodable), "")
    if undecodable:
        return [_refused(base, ReasonCode.PIXELS_NOT_DECODABLE, f"{base.label} {undecodable}")]
    slices = [header.slices[0] for header in headers]
    frames_of_reference = {header.frame_of_reference_uid for header in headers}
    if len(frames_of_reference) > 1:
        message = (
            f"{base.label} mixes {len(frames_of_reference)} frames of reference, whose positions cannot be"
            " compared. Put each into a folder of its own and name it."
        )
        return [_refused(base, ReasonCode.GEOMETRY_IRREGULAR, message)]
    if limits.allow_irregular:
        if not all(header.placed for header in slices):
            return [_judge_unplaced(base, header, limits) for header in headers]
        parts = _parts(base, slices)
        if len(parts) > 1:
            return [_judge_slices(part, part_slices, headers[0], limits) for part, part_slices in parts]
    return [_judge_slices(base, slices, headers[0], limits)]


def _judge_unplaced(base: Candidate, header: FileHeader, limits: ReadLimits) -> Candidate:
    """One file of a series whose slices cannot be placed, on its own."""
    judged = _judge_slices(_with_files(_apart(base, header), [header]), header.slices, header, limits)
    remark = "scored on its own, for its place in the patient is not given"
    return replace(judged, reason=remark) if judged.eligible else judged


def _parts(base: Candidate, slices: Sequence[SliceHeader]) -> list[tuple[Candidate, list[SliceHeader]]]:
    """The stacks that one series holds: orientations first, then phases."""
    try:
        stack = stack_of(slices, base.label)
    except RefusedError:
        return [(base, list(slices))]
    split: list[tuple[str, str, list[SliceHeader]]] = []
    if stack.code == ReasonCode.GEOMETRY_MIXED_ORIENTATION:
        split = [
            (f"-o{n}", f"orientation {n} of {len(stack.groups)}", [slices[index] for index in group])
            for n, group in enumerate(stack.groups, start=1)
        ]
    elif stack.code == ReasonCode.GEOMETRY_DUPLICATE_POSITION:
        split = [(f"-p{n}", value, part) for n, (value, part) in enumerate(phases(slices), start=1)]
    if not split:
        return [(base, list(slices))]
    return [
        deeper
        for suffix, remark, part in split
        for deeper in _parts(replace(base, name=base.name + suffix, reason=remark, files=files_of(part)), part)
    ]


def _judge_slices(base: Candidate, slices: Sequence[SliceHeader], header: FileHeader, limits: ReadLimits) -> Candidate:
    first = slices[0]
    try:
        check_size(base.label, sum(one.rows * one.columns for one in slices), limits.max_voxels)
        if not first.placed and len(slices) == 1 and (stands_alone(header) or limits.allow_irregular):
            base = replace(base, shape=(first.columns, first.rows, 1))
            return replace(base, spacing_mm=(*first.pixel_spacing_mm[::-1], 1.0)) if first.is_measured else base
        stack = stack_of(slices, base.label, slice_thickness_mm=header.slice_thickness_mm)
        if stack.code != ReasonCode.GEOMETRY_DUPLICATE_POSITION or limits.allow_irregular:
            check_values_are_common(slices, base.label)  # repeated positions may be phases, which can be told apart
        row_mm, column_mm = first.pixel_spacing_mm
        count = len(slices)
        if stack.code in (ReasonCode.GEOMETRY_GAP, ReasonCode.GEOMETRY_IRREGULAR) and limits.allow_irregular:
            count = slice_places(stack, base.label)[0][-1] + 1
        base = replace(base, shape=(first.columns, first.rows, count), spacing_mm=(column_mm, row_mm, stack.spacing_mm))
        return _verdict(base, stack, slices, header, limits)
    except RefusedError as error:
        return _refused(base, error.code, str(error))


def _verdict(
    base: Candidate, stack: Stack, slices: Sequence[SliceHeader], header: FileHeader, limits: ReadLimits
) -> Candidate:
    code, message = stack.code, f"{base.label}: {stack.message}"
    severe = (
        ReasonCode.GEOMETRY_MIXED_ORIENTATION,
        ReasonCode.GEOMETRY_MISSING,
        ReasonCode.GEOMETRY_DUPLICATE_POSITION,
    )
    if code not in severe:
        counted = checked_count(base, len(slices), limits, single_is_whole=shows_one_image(header))
        if counted != base:
            return counted
    if code is None:
        return base
    if not limits.allow_irregular or code in severe[:2]:
        return _refused(base, code, message)
    return let_through(base, message.partition(" Use --allow-irregular")[0])


def _not_an_image(base: Candidate, headers: Sequence[FileHeader], apart: bool) -> Candidate:
    candidate = _with_files(_apart(base, headers[0]) if apart else base, headers)
    return _refused(candidate, ReasonCode.NOT_AN_IMAGE, f"{base.label} {headers[0].problem}")


def _localizer(base: Candidate, headers: Sequence[FileHeader], others: int) -> Candidate:
    candidate = _with_files(_apart(base, headers[0]) if others else base, headers)
    message = f"{base.label} is a localizer (scout), not a scan. Leave it out."
    if others:
        message = (
            f"{len(headers)} of {len(headers) + others} images of {base.label} are a localizer (scout), not part of"
            " a scan. The others were taken without them."
        )
    return _refused(candidate, ReasonCode.SERIES_LOCALIZER, message)


def _with_files(base: Candidate, headers: Sequence[FileHeader]) -> Candidate:
    return replace(base, files=tuple(header.file for header in headers), modality=headers[0].modality)


def _apart(base: Candidate, header: FileHeader) -> Candidate:
    uid = header.slices[0].sop_instance_uid if header.slices else ""
    file_name = shown_name(header.file.name)
    own = series_name(uid or file_name).removeprefix("series-")[:8]
    return replace(base, name=f"{base.name}-{own}", label=f"{base.label}/{file_name}")


def _refused(base: Candidate, code: ReasonCode, reason: str) -> Candidate:
    return replace(base, code=code, reason=reason)


def group_by_series(headers: Sequence[FileHeader]) -> dict[str, list[FileHeader]]:
    """The headers by SeriesInstanceUID; a file without one is a group of its own."""
    groups: dict[str, list[FileHeader]] = defaultdict(list)
    for header in headers:
        groups[header.series_uid or str(header.file)].append(header)
    return dict(groups)
