"""The functional groups of an enhanced multi-frame file (PS3.3 C.7.6.16): what each frame says of itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.header_values import header_items, header_value, mark_of

_FRAME_TYPES = (
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence", "XRay3DFrameTypeSequence",
    "USImageDescriptionSequence", "MRSpectroscopyFrameTypeSequence",
)  # fmt: skip
# Frames that differ in one of these are never slices of one volume, wherever they lie.
CONTRAST_MARKS = ("FrameType", "ComplexImageComponent", "AcquisitionContrast", "EffectiveEchoTime", "DiffusionBValue")
_GROUPS: dict[str, tuple[str, ...]] = {
    "FrameType": _FRAME_TYPES,
    "ComplexImageComponent": _FRAME_TYPES,
    "AcquisitionContrast": _FRAME_TYPES,
    "EffectiveEchoTime": ("MREchoSequence",),
    "DiffusionBValue": ("MRDiffusionSequence",),
    "TemporalPositionIndex": ("FrameContentSequence",),
    "TemporalPositionTimeOffset": ("TemporalPositionSequence",),
    "NominalPercentageOfCardiacPhase": ("CardiacSynchronizationSequence",),
    "NominalCardiacTriggerDelayTime": ("CardiacSynchronizationSequence",),
    "NominalPercentageOfRespiratoryPhase": ("RespiratorySynchronizationSequence",),
    "ASLContext": ("MRArterialSpinLabelingSequence",),
    "DiffusionDirectionality": ("MRDiffusionSequence",),
    "InversionTimes": ("MRModifierSequence",),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence",),
    "VelocityEncodingDirection": ("MRVelocityEncodingSequence",),
    "ConvolutionKernel": ("CTReconstructionSequence",),
    "FrameAcquisitionNumber": ("FrameContentSequence",),
}


@dataclass(frozen=True, slots=True)
class FrameGroups:
    """The functional groups that hold for one frame: its own before those that all frames share."""

    levels: tuple[Dataset, ...]
    place: str

    def items(self, sequence: str) -> Iterator[Dataset]:
        """The items of a functional group, those of the frame first."""
        for level in self.levels:
            yield from header_items(level, sequence, self.place)

    def value(self, sequence: str, keyword: str) -> Any:
        """The first value of a tag in a functional group, None where there is none."""
        values = (header_value(item, keyword, self.place) for item in self.items(sequence))
        return next((value for value in values if value is not None and value != ""), None)

    def marks(self) -> tuple[tuple[str, str], ...]:
        """What tells this frame from others at its position, as keyword and text."""
        found: list[tuple[str, str]] = []
        for keyword, sequences in _GROUPS.items():
            values = (self.value(sequence, keyword) for sequence in sequences)
            value = next((value for value in values if value is not None), None)
            if value is not None:
                found.append((keyword, mark_of(value)))
        for item in self.items("MRDiffusionSequence"):
            for direction in header_items(item, "DiffusionGradientDirectionSequence", self.place):
                orientation = header_value(direction, "DiffusionGradientOrientation", self.place)
                found.append(("DiffusionGradientOrientation", mark_of(orientation)))
        indices = self.value("FrameContentSequence", "DimensionIndexValues")
        if indices is not None:
            numbers = mark_of(indices).split("\\")
            found += [(f"DimensionIndexValues {n}", number) for n, number in enumerate(numbers, start=1)]
        return tuple(found)


def frame_groups(dataset: Dataset, frames: int, place: str) -> list[FrameGroups]:
    """The functional groups of each frame, none where the file has none of its own per frame.

    Raises:
        RefusedError: FILE_UNREADABLE, there are groups for another number of frames.
    """
    per_frame = header_items(dataset, "PerFrameFunctionalGroupsSequence", place)
    if not per_frame:
        return []
    if len(per_frame) != frames:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{place} has {frames} frames by its NumberOfFrames and {len(per_frame)} by its functional groups."
            " Check it or fetch it again.",
        )
    shared = header_items(dataset, "SharedFunctionalGroupsSequence", place)[:1]
    return [FrameGroups((own, *shared), place) for own in per_frame]
