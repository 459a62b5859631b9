"""One DICOM series -> Scan, through highdicom where the stack is regular."""

from collections.abc import Sequence
from dataclasses import replace

import highdicom
import numpy as np

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.contrasts import contrasts, described
from medzsad.scan.dicom.headers import FileHeader, SliceHeader, read_header
from medzsad.scan.dicom.irregular import Grid, place_slices
from medzsad.scan.dicom.isolated_decoding import DatasetReader
from medzsad.scan.dicom.pixels import FloatImage, decode_slices, decoding, mirrored
from medzsad.scan.dicom.stacks import check_values_are_common, files_of, slice_names, stack_of
from medzsad.scan.geometry import FloatArray, Stack, affine_ras_from_lps, lps_from_ras
from medzsad.scan.guard import check_size
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate, ReadLimits, Scan, Source

_VOLUME_OPTIONS = {
    "dtype": np.float32,
    "apply_real_world_transform": False,
    "apply_modality_transform": None,
    "apply_voi_transform": False,
    "apply_presentation_lut": False,
}


def read_dicom(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan of one DICOM series: voxels (i, j, k) = (column, row, slice), acquisition axis 2.

    Slices are ordered by their position along the normal alone. Rescale slope and intercept are applied, a
    VOI window never. Color comes as (i, j, k, 3) in 0..255.

    Raises:
        RefusedError: The series cannot be read or stacked reliably; with its reason code.
    """
    place = candidate.label
    headers = [read_header(file, f"{place}: {shown_name(file.name)}") for file in candidate.files]
    slices, remark = _chosen_slices(headers, candidate)
    check_values_are_common(slices, place)
    check_size(place, sum(header.rows * header.columns for header in slices), limits.max_voxels)
    first = headers[0]
    alone = len(slices) == 1 and not slices[0].placed
    grid = _flat(first, slices[0], place) if alone else _stacked(headers, slices, place, limits)
    notes = (remark, *grid.notes) if remark else grid.notes
    if slices[0].spacing_at_detector:
        notes = (*notes, "Lengths are those at the detector (ImagerPixelSpacing), larger than in the patient.")
    if first.photometric == "MONOCHROME1":
        notes = (*notes, "MONOCHROME1: values were mirrored so that larger is brighter.")
    return Scan(
        name=candidate.name,
        voxels=grid.voxels,
        affine_ras=grid.affine_ras,
        modality=first.modality,
        body_part=first.body_part,
        acquisition_axis=2,
        source=Source(
            kind="dicom",
            files=files_of(slices),
            series_uid=first.series_uid,
            sop_instance_uids=tuple("" if n is None else slices[n].sop_instance_uid for n in grid.sources),
            instance_numbers=tuple(None if n is None else slices[n].instance_number for n in grid.sources),
            frame=candidate.frame,
        ),
        missing_slices=tuple(k for k, n in enumerate(grid.sources) if n is None),
        notes=notes,
        has_physical_space=grid.has_physical_space,
    )


def _chosen_slices(headers: Sequence[FileHeader], candidate: Candidate) -> tuple[list[SliceHeader], str]:
    """The slices that the candidate stands for, and a remark on the frame that was chosen."""
    slices = [header for file in headers for header in file.slices]
    if not slices:
        raise RefusedError(ReasonCode.NOT_AN_IMAGE, f"{candidate.label} holds no image. Leave it out.")
    if candidate.frame is None:
        return slices, ""
    if len(headers) == 1 and headers[0].film:
        return [replace(slices[0], frame=candidate.frame)], ""
    parts = contrasts(slices)
    if candidate.frame >= len(parts):
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{candidate.label} has {len(parts)} frames, so there is no frame {candidate.frame}.",
        )
    chosen = parts[candidate.frame]
    text = described(chosen, parts)
    return chosen, f"Frame {candidate.frame} of {len(parts)} (from 0): {text}." if text else ""


def _flat(header: FileHeader, only: SliceHeader, place: str) -> Grid:
    """A picture without a place in the patient: its own pixel spacing, or none, which counts as 1 mm."""
    (image,) = decode_slices([only], place, header)
    row_mm, column_mm = only.pixel_spacing_mm if only.is_measured else (1.0, 1.0)
    notes = () if only.is_measured else ("The file tells no pixel spacing, so there are no lengths and volumes.",)
    return Grid(
        voxels=np.swapaxes(image[None], 0, 2),
        affine_ras=affine_ras_from_lps(np.diag([column_mm, row_mm, 1.0, 1.0])),
        sources=(0,),
        notes=notes,
        has_physical_space=only.is_measured,
    )


def _stacked(headers: Sequence[FileHeader], slices: Sequence[SliceHeader], place: str, limits: ReadLimits) -> Grid:
    stack = stack_of(slices, place, slice_thickness_mm=headers[0].slice_thickness_mm)
    if stack.code is not None and not limits.allow_irregular:
        raise RefusedError(stack.code, f"{place}: {stack.message}")
    if stack.code is None and _suits_highdicom(headers, slices):
        return _through_highdicom(headers, slices, stack, place)
    images = decode_slices(slices, place, headers[0])
    if stack.code == ReasonCode.GEOMETRY_DUPLICATE_POSITION:
        kept = _without_copies(images, stack, place)
        slices_kept = [slices[n] for n in kept]
        stack = stack_of(slices_kept, place, slice_thickness_mm=headers[0].slice_thickness_mm)
        grid = _placed([images[n] for n in kept], slices_kept, stack, place, limits)
        return replace(grid, sources=tuple(None if n is None else kept[n] for n in grid.sources))
    return _placed(images, slices, stack, place, limits)


def _suits_highdicom(headers: Sequence[FileHeader], slices: Sequence[SliceHeader]) -> bool:
    """Whether the series is a gray one, whole, and in the patient coordinate system as highdicom wants it."""
    whole = len(slices) == sum(header.frames for header in headers)
    gray = all(header.photometric in ("MONOCHROME1", "MONOCHROME2") for header in headers)
    return whole and gray and len(slices) > 1 and bool(headers[0].frame_of_reference_uid)


def _placed(
    images: Sequence[FloatImage],
    slices: Sequence[SliceHeader],
    stack: Stack,
    place: str,
    limits: ReadLimits,
) -> Grid:
    if stack.code in (ReasonCode.GEOMETRY_MIXED_ORIENTATION, ReasonCode.GEOMETRY_MISSING):
        raise RefusedError(stack.code, f"{place}: {stack.message}")
    row_mm, column_mm = slices[0].pixel_spacing_mm
    return place_slices(images, stack, (column_mm, row_mm), place=place, max_voxels=limits.max_voxels)


def _without_copies(images: Sequence[FloatImage], stack: Stack, place: str) -> list[int]:
    """Indices of the slices without exact copies at the same position."""
    kept: list[tuple[float, int]] = []
    for index, offset in zip(stack.order, stack.offsets_mm, strict=True):
        if kept and offset - kept[-1][0] < 1e-3:
            if not np.array_equal(images[kept[-1][1]], images[index]):
                what = stack.message.partition(" Use --allow-irregular")[0]
                message = (
                    f"{place}: {what} Their pixels differ, so they are not one volume. Split the series into folders."
                )
                raise RefusedError(ReasonCode.GEOMETRY_DUPLICATE_POSITION, message)
        else:
            kept.append((float(offset), index))
    return [index for _, index in kept]


def _through_highdicom(headers: Sequence[FileHeader], slices: Sequence[SliceHeader], stack: Stack, place: str) -> Grid:
    guard = decoding(place, headers[0].transfer_syntax)
    with DatasetReader(place, headers[0].transfer_syntax) as reader:
        datasets = [reader.read(header.slices[0]) for header in headers]
    if headers[0].frames > 1:
        with guard():
            image = highdicom.Image.from_dataset(datasets[0], copy=False)
        with guard():
            volume = image.get_volume(**_VOLUME_OPTIONS, rtol=0.011)
    else:
        try:
            with guard():
                volume = highdicom.get_volume_from_series(datasets, **_VOLUME_OPTIONS, rtol=0.011, orientation_tol=2e-3)
        except RefusedError:
            decode_slices(slices, place, headers[0])  # one by one, so that the refusal names the file
            raise
    expected = (len(slices), slices[0].rows, slices[0].columns)
    if volume.array.shape != expected:
        raise RefusedError(
            ReasonCode.PIXELS_NOT_DECODABLE,
            f"{place} decodes to a volume of shape {volume.array.shape}, its headers say {expected}. Fetch it again.",
        )
    voxels = np.swapaxes(volume.array, 0, 2)  # (k, rows, columns) -> (i, j, k)
    if headers[0].photometric == "MONOCHROME1":
        (voxels,) = mirrored([voxels])
    affine_ras = affine_ras_from_lps(volume.affine[:, [2, 1, 0, 3]])
    return Grid(voxels=voxels, affine_ras=affine_ras, sources=_sources(affine_ras, slices, stack, place))


def _sources(affine_ras: FloatArray, slices: Sequence[SliceHeader], stack: Stack, place: str) -> tuple[int, ...]:
    """For each k the slice that lies there, by position; a check on the affine at the same time."""
    order = list(stack.order)
    first = lps_from_ras(affine_ras[:3, 3])
    to_lowest, to_highest = (np.linalg.norm(first - slices[order[end]].position_lps_mm) for end in (0, -1))
    if to_highest < to_lowest:
        order.reverse()
    for k, index in enumerate(order):
        found = lps_from_ras(affine_ras[:3, 3] + affine_ras[:3, 2] * k)
        away_mm = float(np.linalg.norm(found - slices[index].position_lps_mm))
        if away_mm > 0.5 * stack.spacing_mm + min(slices[index].pixel_spacing_mm):
            raise RefusedError(
                ReasonCode.GEOMETRY_IRREGULAR,
                f"{place}: {slice_names(slices)[index]} lies {away_mm:.2f} mm from where the stack has it."
                " Use --allow-irregular to score it slice by slice.",
            )
    return tuple(order)
