"""What the stored values of a slice mean: modality, kind of gray or color, rescale, unit."""

from dataclasses import dataclass

from pydicom import Dataset

from medzsad.scan.dicom.frames import FrameGroups
from medzsad.scan.dicom.header_values import code_of, header_items, header_value, numbers_of

_NO_RESCALE = "no rescale"
_SLOPE = "RescaleSlope and RescaleIntercept"
_TABLE = "a ModalityLUTSequence"


@dataclass(frozen=True, slots=True)
class ValueMeaning:
    """What the header says on the stored values of one slice; texts are code words that may be shown.

    Attributes:
        modality: Modality.
        photometric: PhotometricInterpretation.
        units: Units, which PET has.
        rescale: The kind of modality transform; a slope of 1 with an intercept of 0 has `neutral` set besides.
        neutral: Whether the transform changes nothing.
    """

    modality: str
    photometric: str
    units: str
    rescale: str
    neutral: bool


def value_meaning(dataset: Dataset, groups: FrameGroups, modality: str) -> ValueMeaning:
    """What the stored values of a file, or of one of its frames, mean."""
    place = groups.place
    rescale, neutral = _NO_RESCALE, True
    for holder in [*groups.items("PixelValueTransformationSequence"), dataset]:
        pair = [header_value(holder, keyword, place) for keyword in ("RescaleSlope", "RescaleIntercept")]
        if None not in pair:
            rescale, neutral = _SLOPE, numbers_of(pair, 2) == (1.0, 0.0)
            break
        if header_items(holder, "ModalityLUTSequence", place):
            rescale, neutral = _TABLE, False
            break
    return ValueMeaning(
        modality=modality,
        photometric=code_of(header_value(dataset, "PhotometricInterpretation", place)),
        units=code_of(header_value(dataset, "Units", place)),
        rescale=rescale,
        neutral=neutral,
    )


def difference(one: ValueMeaning, other: ValueMeaning) -> tuple[str, str] | None:
    """What two slices have that cannot stand in one volume, or None if their values mean the same.

    Slopes that differ from slice to slice are legitimate, PET has them; a slope on some slices alone is not. All
    colors are decoded to red, green and blue, so they mean the same.
    """
    if one.modality != other.modality:
        return f"Modality {one.modality or 'not given'}", f"Modality {other.modality or 'not given'}"
    if _shade(one.photometric) != _shade(other.photometric):
        return (
            f"PhotometricInterpretation {one.photometric or 'not given'}",
            f"PhotometricInterpretation {other.photometric or 'not given'}",
        )
    if one.units != other.units:
        return f"Units {one.units or 'not given'}", f"Units {other.units or 'not given'}"
    if one.rescale != other.rescale and not (one.neutral and other.neutral):
        return one.rescale, other.rescale
    return None


def _shade(photometric: str) -> str:
    return photometric if photometric.startswith("MONOCHROME") else "color"
