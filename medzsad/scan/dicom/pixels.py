"""Pixels of DICOM slices: decoded, rescaled, never windowed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.headers import FileHeader, SliceHeader
from medzsad.scan.guard import refusing

FloatImage = NDArray[np.float32]


def decode_slices(slices: Sequence[SliceHeader], place: str, file: FileHeader) -> list[FloatImage]:
    """The slices as (rows, columns) float32 in modality units, or (rows, columns, 3) in 0..255.

    Args:
        slices: What to decode.
        place: What messages call the series.
        file: Header of its first file, for the transfer syntax and for MONOCHROME1, which is mirrored.

    Raises:
        RefusedError: PIXELS_NOT_DECODABLE with the transfer syntax, or SERIES_MIXED_SIZE.
    """
    images: list[FloatImage] = []
    opened: tuple[Path, Dataset] | None = None
    with refusing(place, ReasonCode.PIXELS_NOT_DECODABLE, undecodable(file.transfer_syntax)):
        for header in slices:
            if opened is None or opened[0] != header.file:
                opened = (header.file, dcmread(header.file, force=True))
            images.append(_decode(opened[1], header.frame))
    if len({image.shape for image in images}) > 1:
        raise RefusedError(ReasonCode.SERIES_MIXED_SIZE, f"{place} decodes to slices of unequal size. Fetch it again.")
    return mirrored(images) if file.photometric == "MONOCHROME1" else images


def undecodable(transfer_syntax: str) -> str:
    """The predicate of a refusal whose pixels could not be decoded."""
    return f"has pixels that cannot be decoded (transfer syntax {transfer_syntax or 'not given'})"


def mirrored(images: Sequence[FloatImage]) -> list[FloatImage]:
    """MONOCHROME1 values mirrored about their common middle, so that larger is brighter (PS3.3 C.7.6.3.1.2)."""
    total = min(image.min() for image in images) + max(image.max() for image in images)
    return [np.asarray(total - image, np.float32) for image in images]


def _decode(dataset: Dataset, frame: int) -> FloatImage:
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
    stored = pixel_array(dataset, index=frame)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)[..., :3]
        return np.asarray(stored, np.float32) * np.float32(255.0 / np.iinfo(stored.dtype).max)
    if stored.ndim == 3:
        bits = int(dataset.BitsStored)
        return np.asarray(stored, np.float32) * np.float32(255.0 / (2**bits - 1))
    transform = _transform(dataset, frame)
    return np.asarray(apply_modality_lut(stored, transform), np.float32)


def _transform(dataset: Dataset, frame: int) -> Dataset:
    """The dataset that holds the rescale slope of a frame (PS3.3 C.7.6.16.2.9)."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in [*per_frame[frame : frame + 1], *shared[:1]]:
        items = group.get("PixelValueTransformationSequence") or []
        if len(items):
            return items[0]
    return dataset


def _guessed_syntax(dataset: Dataset) -> str:
    implicit, little = dataset.original_encoding
    if little is False:
        return "1.2.840.10008.1.2.2"
    return "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
