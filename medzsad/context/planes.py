"""All three planes of a volume: which volumes can be cut along each."""

from medzsad.config import Axis
from medzsad.scan.records import Scan

PLANES: tuple[Axis, ...] = ("axial", "coronal", "sagittal")
# The longest side of a voxel over its shortest, and the fewest slices along each axis.
MAX_SPACING_RATIO = 2.5
MIN_SLICES = 24


def why_one_plane(scan: Scan) -> str:
    """Why a scan is scored along one axis only, as the end of a sentence; "" if all three planes can be scored."""
    if scan.voxels.ndim != 3:
        return "it is in color"
    if min(scan.shape) < MIN_SLICES:
        return f"it has {min(scan.shape)} slices along one axis, and {MIN_SLICES} are needed along each"
    if not scan.has_physical_space:
        return "its spacing was not measured"
    low, high = min(scan.spacing_mm), max(scan.spacing_mm)
    if high > MAX_SPACING_RATIO * low:
        return f"its voxels are {high / low:.1f} times as long as wide, and {MAX_SPACING_RATIO:g} is the most"
    return "some of its slices were not acquired" if scan.missing_slices else ""
