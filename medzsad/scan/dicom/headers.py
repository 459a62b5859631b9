"""What the header of a DICOM file says, read without its pixels and without any patient tag."""

import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import refusing

_TAGS = [
    "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber",
    "AcquisitionNumber", "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "EchoTime", "TemporalPositionIndex", "TemporalPositionIdentifier",
    "SliceThickness", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence",
]  # fmt: skip
_MARKS = ("EchoTime", "TemporalPositionIndex", "TemporalPositionIdentifier", "AcquisitionNumber", "ImageType")
_NOT_IMAGES = ("Segmentation", "Parametric Map", "RT ", "Presentation State", "Raw Data")
_UID = re.compile(r"[0-9.]{1,64}")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_META_START = 132 + 12  # preamble, then the element that tells the length of the rest of group 0002
_CHUNK_BYTES = 1024**2
_MOST_INFLATED_BYTES = 2 * 1024**3
_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice: a file, or one frame of a multi-frame file (`frame`, from 0)."""

    file: Path
    frame: int
    sop_instance_uid: str
    position_lps_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    rows: int
    columns: int
    marks: tuple[tuple[str, str], ...]

    @property
    def placed(self) -> bool:
        """Whether position, orientation and spacing are all there."""
        return bool(self.position_lps_mm and self.orientation and self.pixel_spacing_mm)


@dataclass(frozen=True, slots=True)
class FileHeader:
    """One DICOM file.

    `slices` is empty where the file holds no image; it is one pattern for all `frames` where these are not
    placed one by one (a film, PS3.3 C.7.6.6).
    """

    file: Path
    sop_class_uid: str
    sop_class_name: str
    series_uid: str
    series_number: int | None
    modality: str
    transfer_syntax: str
    image_type: tuple[str, ...]
    samples: int
    photometric: str
    frame_of_reference_uid: str
    slice_thickness_mm: float
    frames: int
    slices: tuple[SliceHeader, ...]

    @property
    def film(self) -> bool:
        """Whether it holds several frames that have no place of their own."""
        return self.frames > len(self.slices) > 0

    @property
    def is_directory(self) -> bool:
        """Whether it is a DICOMDIR."""
        return self.sop_class_uid == _DIRECTORY


def looks_like_dicom(path: Path, *, need_preamble: bool = False) -> bool:
    """Whether the content begins as DICOM: with the preamble, or an element of group 0002 or 0008."""
    with path.open("rb") as stream:
        start = stream.read(132)
    if start[128:132] == b"DICM":
        return True
    if need_preamble or len(start) < 132:
        return False
    little, big = start[:2] in (b"\x02\x00", b"\x08\x00"), start[:2] in (b"\x00\x02", b"\x00\x08")
    element = int.from_bytes(start[2:4], "little" if little else "big")
    return (little or big) and element in (0x0, 0x1, 0x5, 0x8, 0x10, 0x12, 0x14, 0x16, 0x18)


def read_header(path: Path, place: str) -> FileHeader:
    """The header of one DICOM file.

    Args:
        path: The file.
        place: What messages call it.

    Raises:
        RefusedError: FILE_UNREADABLE.
    """
    with refusing(place):
        _refuse_deflate_bomb(path, place)
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
        if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" not in dataset.file_meta:
            raise RefusedError(
                ReasonCode.FILE_UNREADABLE,
                f"{place} is DICOM without SOPClassUID. Check it or fetch it again.",
            )
        return _header(path, dataset)


def _refuse_deflate_bomb(path: Path, place: str) -> None:
    """Counts what a deflated file inflates to, for pydicom inflates it whole even to read its header."""
    meta = read_file_meta_info(path) if _has_preamble(path) else Dataset()
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        stream.seek(_META_START + int(meta.FileMetaInformationGroupLength))
        while chunk := inflater.unconsumed_tail or stream.read(_CHUNK_BYTES):
            inflated += len(inflater.decompress(chunk, _CHUNK_BYTES))
            if inflated > _MOST_INFLATED_BYTES:
                raise RefusedError(
                    ReasonCode.SIZE_LIMIT, f"{place} inflates to more than {_MOST_INFLATED_BYTES} bytes. Leave it out."
                )


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _header(path: Path, dataset: Dataset) -> FileHeader:
    meta = dataset.file_meta
    sop_class = str(dataset.get("SOPClassUID", "") or meta.get("MediaStorageSOPClassUID", ""))
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    name = _uid_name(sop_class)
    holds_pixels = not any(word in name for word in _NOT_IMAGES)
    return FileHeader(
        file=path,
        sop_class_uid=sop_class,
        sop_class_name=name,
        series_uid=_uid(dataset.get("SeriesInstanceUID") or dataset.get("SOPInstanceUID")),
        series_number=_integer(dataset.get("SeriesNumber")),
        modality=_code(dataset.get("Modality")),
        transfer_syntax=_uid_name(str(meta.get("TransferSyntaxUID", ""))),
        image_type=_texts(dataset.get("ImageType")),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        photometric=str(dataset.get("PhotometricInterpretation") or ""),
        frame_of_reference_uid=_uid(dataset.get("FrameOfReferenceUID")),
        slice_thickness_mm=max((_numbers(dataset.get("SliceThickness"), 1) or (0.0,))[0], 0.0),
        frames=max(int(dataset.get("NumberOfFrames") or 1), 1),
        slices=_slices(path, dataset, rows, columns) if rows and columns and holds_pixels else (),
    )


def _slices(path: Path, dataset: Dataset, rows: int, columns: int) -> tuple[SliceHeader, ...]:
    count = max(int(dataset.get("NumberOfFrames") or 1), 1)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    enhanced = len(per_frame) == count
    spacing = _numbers(dataset.get("PixelSpacing"), 2)
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = spacing or _numbers(dataset.get(keyword), 2)
    uid = _uid(dataset.get("SOPInstanceUID"))
    slices = []
    for frame in range(count):
        places = [per_frame[frame], shared] if enhanced else []
        position = _group(places, "PlanePositionSequence", "ImagePositionPatient", 3)
        orientation = _group(places, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        measured = _group(places, "PixelMeasuresSequence", "PixelSpacing", 2)
        if count == 1 or not enhanced:
            position = position or (_numbers(dataset.get("ImagePositionPatient"), 3) if count == 1 else ())
            orientation = orientation or _numbers(dataset.get("ImageOrientationPatient"), 6)
        slices.append(
            SliceHeader(
                file=path,
                frame=frame,
                sop_instance_uid=uid,
                position_lps_mm=position,
                orientation=orientation,
                pixel_spacing_mm=measured or spacing,
                rows=rows,
                columns=columns,
                marks=tuple((word, _mark(dataset.get(word))) for word in _MARKS if word in dataset),
            )
        )
        if count > 1 and not enhanced:
            break
    return tuple(slices)


def _group(places: Iterable[Dataset], sequence: str, keyword: str, count: int) -> tuple[float, ...]:
    for place in places:
        items = place.get(sequence) or []
        values = _numbers(items[0].get(keyword), count) if len(items) else ()
        if values:
            return values
    return ()


def _uid(value: object) -> str:
    """A UID as it is; anything else under that tag only by its hash, for it may be text of a damaged file."""
    text = str(value or "")
    if not text or _UID.fullmatch(text):
        return text
    return f"2.25.{int(hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:30], 16)}"


def _uid_name(text: str) -> str:
    """The name of a UID that the standard knows, else "unknown"."""
    name = str(UID(text).name) if _UID.fullmatch(text) else ""
    return name if name != text and name else "unknown"


def _code(value: object) -> str:
    text = str(value or "")
    return text if _CODE.fullmatch(text) else ""


def _numbers(value: object, count: int) -> tuple[float, ...]:
    if value is None or value == "":
        return ()
    items = [value] if count == 1 else value
    if not isinstance(items, Iterable):
        return ()
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()


def _integer(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _mark(value: object) -> str:
    """A value as text, several of them separated as in the file."""
    return "\\".join(_texts(value) or (str(value),))


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, Iterable) else ()
