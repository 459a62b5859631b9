"""Pixels of DICOM slices: decoded, rescaled, never windowed."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.header_values import header_count, header_items, header_value
from medzsad.scan.dicom.headers import FileHeader, SliceHeader
from medzsad.scan.dicom.isolated_decoding import DatasetReader, undecodable
from medzsad.scan.guard import refusing
from medzsad.scan.names import file_in

FloatImage = NDArray[np.float32]
Guard = Callable[[], AbstractContextManager[None]]

_PALETTES = ("Red", "Green", "Blue")


def decoding(place: str, transfer_syntax: str) -> Guard:
    """What guards a call that decodes pixels: its refusal names the transfer syntax."""
    return partial(refusing, place, ReasonCode.PIXELS_NOT_DECODABLE, undecodable(transfer_syntax))


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
    chosen = Counter(header.file for header in slices)
    with DatasetReader(place, file.transfer_syntax) as reader:
        for header in slices:
            where = file_in(place, header.file)
            if opened is None or opened[0] != header.file:
                opened = (header.file, reader.read(header, alone=chosen[header.file] == 1))
                _prepare(opened[1], where)
            images.append(_decode(opened[1], header, where, decoding(where, file.transfer_syntax)))
    if len({image.shape for image in images}) > 1:
        raise RefusedError(ReasonCode.SERIES_MIXED_SIZE, f"{place} decodes to slices of unequal size. Fetch it again.")
    return mirrored(images) if file.photometric == "MONOCHROME1" else images


def mirrored(images: Sequence[FloatImage]) -> list[FloatImage]:
    """MONOCHROME1 values mirrored about their common middle, so that larger is brighter (PS3.3 C.7.6.3.1.2)."""
    total = min(image.min() for image in images) + max(image.max() for image in images)
    return [np.asarray(total - image, np.float32) for image in images]


def _prepare(dataset: Dataset, place: str) -> None:
    """Makes up for what pydicom expects of a data set it has just read."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
    if dataset.original_encoding[1] is False:  # pydicom takes the words of a palette for little-endian ones
        for color in _PALETTES:
            keyword = f"{color}PaletteColorLookupTableData"
            table = header_value(dataset, keyword, place)
            if isinstance(table, bytes) and len(table) % 2 == 0:
                dataset[keyword].value = np.frombuffer(table, np.uint16).byteswap().tobytes()


def _decode(dataset: Dataset, header: SliceHeader, place: str, guard: Guard) -> FloatImage:
    index = 0 if header.decoded_apart and dataset.get("NumberOfFrames") == 1 else header.frame
    with guard():
        stored = pixel_array(dataset, index=index)
    if stored.shape[:2] != (header.rows, header.columns) or stored.shape[2:] not in ((), (3,)):
        raise RefusedError(
            ReasonCode.PIXELS_NOT_DECODABLE,
            f"{place} decodes to an image of shape {stored.shape}, its header says {header.rows} rows and"
            f" {header.columns} columns. Fetch it again.",
        )
    if header.meaning.photometric == "PALETTE COLOR":
        with guard():
            stored = apply_color_lut(stored, dataset)[..., :3]
        return np.asarray(stored, np.float32) * np.float32(255.0 / np.iinfo(stored.dtype).max)
    if stored.ndim == 3:
        bits = header_count(dataset, "BitsStored", place, otherwise=8)
        return np.asarray(stored, np.float32) * np.float32(255.0 / (2**bits - 1))
    transform = _transform(dataset, header.frame, place)
    with guard():
        rescaled = apply_modality_lut(stored, transform)
    return np.asarray(rescaled, np.float32)


def _transform(dataset: Dataset, frame: int, place: str) -> Dataset:
    """The dataset that holds the rescale slope of a frame (PS3.3 C.7.6.16.2.9)."""
    per_frame = header_items(dataset, "PerFrameFunctionalGroupsSequence", place)
    shared = header_items(dataset, "SharedFunctionalGroupsSequence", place)
    for group in [*per_frame[frame : frame + 1], *shared[:1]]:
        items = header_items(group, "PixelValueTransformationSequence", place)
        if items:
            return items[0]
    return dataset


def _guessed_syntax(dataset: Dataset) -> str:
    implicit, little = dataset.original_encoding
    if little is False:
        return "1.2.840.10008.1.2.2"
    return "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
