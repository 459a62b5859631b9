"""All three planes of a volume: which volumes can be cut along each, and how their scores become one."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medzsad.config import Axis
from medzsad.context.logits import logit_of, score_of
from medzsad.scan.records import Scan
from medzsad.slices.stack import SliceStack

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


@dataclass(slots=True)
class PlaneFusion:
    """The mean of the logits of several planes, voxel by voxel, over those planes that scored a voxel's slice.

    Holds one volume, however many planes are added.
    """

    _logits: NDArray[np.float32] | None = field(default=None, repr=False)
    _planes: NDArray[np.uint8] | None = field(default=None, repr=False)

    def add(self, score: NDArray[np.float32], stack: SliceStack) -> None:
        """Takes the scores (i, j, k) of one plane, in the scan's grid; `stack` says which slices they come from."""
        scored = np.zeros(len(stack), np.uint8)
        scored[stack.indices] = stack.tissue
        along = scored.reshape([-1 if axis == stack.plan.axis else 1 for axis in range(3)])
        logits = logit_of(score)
        logits *= along
        if self._logits is None or self._planes is None:
            self._logits, self._planes = logits, np.array(np.broadcast_to(along, score.shape))
        else:
            self._logits += logits
            self._planes += along

    def score(self) -> NDArray[np.float32]:
        """The fused scores (i, j, k), 0 where no plane scored the slice.

        Raises:
            ValueError: No plane was added.
        """
        if self._logits is None or self._planes is None:
            raise ValueError("No plane was added.")
        fused = score_of(np.divide(self._logits, np.maximum(self._planes, 1), dtype=np.float32))
        fused[self._planes == 0] = 0.0
        return fused
