"""What a report is told of how a scan was scored: notes, warnings, and why there is nothing."""

from medzsad.config import RunConfig
from medzsad.scan.records import Scan
from medzsad.scoring.engine import ScoreVolume
from medzsad.slices.stack import MIN_TISSUE_FRACTION, SliceStack
from medzsad.slices.window import CT_WINDOWS, looks_like_hounsfield


def nothing_scored(scan: Scan, stack: SliceStack) -> str:
    """Why no slice of a scan could be scored, and what to do."""
    low, high = float(scan.voxels.min()), float(scan.voxels.max())
    found = f"No slice of {scan.name} could be scored: "
    if scan.missing_slices and len(scan.missing_slices) == len(stack):
        return f"{found}no slice was acquired. Check the series."
    level = stack.window.tissue_level
    if scan.modality == "CT" and high <= level:
        return (
            f"{found}its values lie between {low:.0f} and {high:.0f} HU, and tissue is expected above {level:.0f} HU. "
            "They are probably not Hounsfield units: check the rescale intercept, or score the values as they are with "
            "--window percentiles."
        )
    return (
        f"{found}less than {MIN_TISSUE_FRACTION:.1%} of each lies above {level:.4g}, the value from which on it counts "
        f"as tissue (values: {low:.4g} to {high:.4g}). Check the scan, and its modality with --modality."
    )


def notes_on(stack: SliceStack, scores: ScoreVolume) -> tuple[str, ...]:
    """How many slices were not scored themselves, and whether the model changed on the way."""
    found = []
    between = int((stack.tissue & ~scores.scored).sum())
    if between:
        found.append(
            f"{between} of {int(stack.tissue.sum())} slices with tissue were not scored but interpolated between their "
            "neighbors."
        )
    if scores.adapted is not None:
        found.append(
            f"The scores are adapted: the prompts went on learning from {scores.adapted} of the "
            f"{int(scores.scored.sum())} slices as they were scored, so a score depends on the slices before it."
        )
    return tuple(found)


def warnings_on(scan: Scan, stack: SliceStack, config: RunConfig) -> tuple[str, ...]:
    """What may make the scores meaningless, and what to do about it."""
    found = []
    if looks_like_hounsfield(scan):
        found.append(
            "The values look like Hounsfield units but the file names no modality; percentiles were used. "
            "Give --modality CT for a CT window."
        )
    if stack.window.name in CT_WINDOWS and scan.modality != "CT":
        found.append(
            f"The CT window {stack.window.name} was applied to modality '{scan.modality or 'unknown'}', whose values "
            "are not Hounsfield units. Leave --window out, or give --modality CT if it is a CT."
        )
    if scan.modality == "CT" and float(scan.voxels.min()) > -200.0:
        found.append(
            f"A CT without any value below -200 HU (smallest {scan.voxels.min():.0f}) may lack its rescale intercept. "
            "Check that air is near -1000."
        )
    if not scan.has_physical_space and (config.min_volume_mm3 or config.smooth_mm):
        found.append("The scan has no measured pixel size, so --min-volume-mm3 and --smooth-mm counted its pixels.")
    return tuple(found)
