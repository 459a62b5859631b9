"""What the header of a DICOM file says, read without its pixels; of the patient nothing is kept."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.decoders import only_gdcm
from medzsad.scan.dicom.description import DESCRIPTION_TAGS, shown_description
from medzsad.scan.dicom.frames import FrameGroups, frame_groups
from medzsad.scan.dicom.header_values import (
    code_of,
    header_count,
    header_value,
    integer_of,
    mark_of,
    numbers_of,
    texts_of,
    uid_name,
    uid_of,
)
from medzsad.scan.dicom.image_classes import image_problem
from medzsad.scan.dicom.syntaxes import syntax_problem
from medzsad.scan.dicom.value_meaning import ValueMeaning, value_meaning
from medzsad.scan.guard import refusing

_TAGS = [
    "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "AcquisitionNumber", "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsStored", "EchoTime", "TemporalPositionIndex", "TemporalPositionIdentifier",
    "SliceThickness", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "Units", "BodyPartExamined", "StudyInstanceUID",
    *DESCRIPTION_TAGS,
]  # fmt: skip
_MARKS = ("EchoTime", "TemporalPositionIndex", "TemporalPositionIdentifier", "AcquisitionNumber", "ImageType")
_META_START = 132 + 12  # preamble, then the element that tells the length of the rest of group 0002
_CHUNK_BYTES = 1024**2
_MOST_INFLATED_BYTES = 2 * 1024**3
_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice: a file, or one frame of a multi-frame file (`frame`, from 0).

    Attributes:
        marks: What may tell it from others at its position, as keyword and text.
        meaning: What its stored values mean.
        spacing_at_detector: Whether the pixel spacing is that of the detector, behind the patient.
        decoded_apart: Whether its pixels are decoded in a process of their own, because they might end it.
    """

    file: Path
    frame: int
    sop_instance_uid: str
    position_lps_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    rows: int
    columns: int
    marks: tuple[tuple[str, str], ...]
    meaning: ValueMeaning
    instance_number: int | None
    spacing_at_detector: bool = False
    decoded_apart: bool = False

    @property
    def placed(self) -> bool:
        """Whether position, orientation and spacing are all there."""
        return bool(self.position_lps_mm and self.orientation and self.pixel_spacing_mm)

    @property
    def is_measured(self) -> bool:
        """Whether its pixels have a length."""
        return bool(self.pixel_spacing_mm) and min(self.pixel_spacing_mm) > 0


@dataclass(frozen=True, slots=True)
class FileHeader:
    """One DICOM file.

    `slices` is empty where the file holds no image; it is one pattern for all `frames` where these are not placed one
    by one (a film, PS3.3 C.7.6.6). `problem` says why it is no image, `undecodable` why its pixels cannot be decoded:
    predicates of a sentence, "" where there is nothing to say.
    """

    file: Path
    sop_class_uid: str
    problem: str
    series_uid: str
    series_number: int | None
    description: str
    modality: str
    body_part: str
    transfer_syntax: str
    undecodable: str
    image_type: tuple[str, ...]
    mosaic: bool
    photometric: str
    study_uid: str
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
    _refuse_deflate_bomb(path, place)
    with refusing(place):
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
    if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" not in dataset.file_meta:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{place} is DICOM without SOPClassUID. Check it or fetch it again.",
        )
    return _header(path, dataset, place)


def _refuse_deflate_bomb(path: Path, place: str) -> None:
    """Counts what a deflated file inflates to, for pydicom inflates it whole even to read its header."""
    with refusing(place):
        meta = read_file_meta_info(path) if looks_like_dicom(path, need_preamble=True) else Dataset()
    if header_value(meta, "TransferSyntaxUID", place) != DeflatedExplicitVRLittleEndian:
        return
    start = _META_START + header_count(meta, "FileMetaInformationGroupLength", place, otherwise=0)
    with refusing(place):
        inflated = _inflated_bytes(path, start)
    if inflated > _MOST_INFLATED_BYTES:
        raise RefusedError(
            ReasonCode.SIZE_LIMIT, f"{place} inflates to more than {_MOST_INFLATED_BYTES} bytes. Leave it out."
        )


def _inflated_bytes(path: Path, start: int) -> int:
    """How many bytes the file inflates to from `start` on, counted no further than the limit."""
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        stream.seek(start)
        while inflated <= _MOST_INFLATED_BYTES and (chunk := inflater.unconsumed_tail or stream.read(_CHUNK_BYTES)):
            inflated += len(inflater.decompress(chunk, _CHUNK_BYTES))
    return inflated


def _header(path: Path, dataset: Dataset, place: str) -> FileHeader:
    meta = dataset.file_meta
    sop_class = str(
        header_value(dataset, "SOPClassUID", place) or header_value(meta, "MediaStorageSOPClassUID", place) or ""
    )
    modality = code_of(header_value(dataset, "Modality", place))
    image_type = texts_of(header_value(dataset, "ImageType", place))
    slices: tuple[SliceHeader, ...] = ()
    problem = image_problem(sop_class, modality)
    frames = header_count(dataset, "NumberOfFrames", place, otherwise=1)
    if not problem:
        slices = _slices(path, dataset, frames, modality, place)
        problem = "" if slices else "has no pixels: its Rows or Columns are missing. Check it or leave it out."
    syntax = str(header_value(meta, "TransferSyntaxUID", place) or "")
    series_uid = header_value(dataset, "SeriesInstanceUID", place) or header_value(dataset, "SOPInstanceUID", place)
    thickness_mm = numbers_of(header_value(dataset, "SliceThickness", place), 1) or (0.0,)
    return FileHeader(
        file=path,
        sop_class_uid=sop_class,
        problem=problem,
        series_uid=uid_of(series_uid),
        series_number=integer_of(header_value(dataset, "SeriesNumber", place)),
        description=shown_description(dataset, place),
        modality=modality,
        body_part=code_of(header_value(dataset, "BodyPartExamined", place)),
        transfer_syntax=uid_name(syntax) or "unknown",
        undecodable=syntax_problem(syntax, header_count(dataset, "BitsStored", place, otherwise=8)),
        image_type=image_type,
        mosaic="MOSAIC" in image_type,
        photometric=str(header_value(dataset, "PhotometricInterpretation", place) or ""),
        study_uid=uid_of(header_value(dataset, "StudyInstanceUID", place)),
        frame_of_reference_uid=uid_of(header_value(dataset, "FrameOfReferenceUID", place)),
        slice_thickness_mm=max(thickness_mm[0], 0.0),
        frames=frames,
        slices=slices,
    )


def _slices(path: Path, dataset: Dataset, frames: int, modality: str, place: str) -> tuple[SliceHeader, ...]:
    rows = header_count(dataset, "Rows", place, otherwise=0)
    columns = header_count(dataset, "Columns", place, otherwise=0)
    if not (rows and columns):
        return ()
    spacing, spaced_by = _pixel_spacing_mm(dataset, place)
    whole = SliceHeader(
        file=path,
        frame=0,
        sop_instance_uid=uid_of(header_value(dataset, "SOPInstanceUID", place)),
        position_lps_mm=numbers_of(header_value(dataset, "ImagePositionPatient", place), 3) if frames == 1 else (),
        orientation=numbers_of(header_value(dataset, "ImageOrientationPatient", place), 6),
        pixel_spacing_mm=spacing,
        rows=rows,
        columns=columns,
        marks=tuple((word, mark_of(header_value(dataset, word, place))) for word in _MARKS if word in dataset),
        meaning=value_meaning(dataset, FrameGroups((), place), modality),
        instance_number=integer_of(header_value(dataset, "InstanceNumber", place)),
        spacing_at_detector=spaced_by == "ImagerPixelSpacing",
        decoded_apart=only_gdcm(uid_of(header_value(dataset.file_meta, "TransferSyntaxUID", place))),
    )
    groups = frame_groups(dataset, frames, place)
    if groups and frames > 1:  # what stands outside of the groups is of no single frame
        whole = replace(whole, orientation=())
    return tuple(_frame(whole, n, group, dataset, modality) for n, group in enumerate(groups)) or (whole,)


def _pixel_spacing_mm(dataset: Dataset, place: str) -> tuple[tuple[float, ...], str]:
    """The spacing of rows and columns and the tag that tells it; () and "" where none tells lengths."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing_mm = numbers_of(header_value(dataset, keyword, place), 2)
        if spacing_mm and min(spacing_mm) > 0:
            return spacing_mm, keyword
    return (), ""


def _frame(whole: SliceHeader, frame: int, group: FrameGroups, dataset: Dataset, modality: str) -> SliceHeader:
    """One frame of an enhanced file; what its groups lack is taken from `whole`."""
    position = numbers_of(group.value("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = numbers_of(group.value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing_mm = numbers_of(group.value("PixelMeasuresSequence", "PixelSpacing"), 2)
    return replace(
        whole,
        frame=frame,
        position_lps_mm=position or whole.position_lps_mm,
        orientation=orientation or whole.orientation,
        pixel_spacing_mm=spacing_mm or whole.pixel_spacing_mm,
        spacing_at_detector=whole.spacing_at_detector and not spacing_mm,
        marks=(*whole.marks, *group.marks()),
        meaning=value_meaning(dataset, group, modality),
    )
