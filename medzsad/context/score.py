"""The scores of slices to one score volume in the scan's grid, with what surrounds each slice taken into account."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from medzsad.config import Axis
from medzsad.context.air import outside_air
from medzsad.context.logits import LogitMean, logit_of
from medzsad.context.planes import PLANES, why_one_plane
from medzsad.context.sequences import scored_voxels
from medzsad.context.smoothing import smooth_along_axis
from medzsad.scan.records import Scan
from medzsad.scoring.engine import smooth
from medzsad.slices.stack import SliceStack
from medzsad.weights.card import ContextCard

# The slices of a plane, and their scores (S, size, size) as the model gave them.
ScoredPlane = tuple[SliceStack, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class ContextScore:
    """The scores of a scan.

    Attributes:
        score: (i, j, k) float32 in [0, 1], in the scan's grid.
        outside: (i, j, k) bool, the air around the body; None if it was not looked for or not found.
        notes: What the context did, for the report.
    """

    score: NDArray[np.float32] = field(repr=False)
    outside: NDArray[np.bool_] | None = field(repr=False)
    notes: tuple[str, ...] = ()


def score_in_context(
    scan: Scan,
    main: ScoredPlane,
    context: ContextCard,
    score_plane: Callable[[Axis], ScoredPlane],
    smooth_mm: float = 0.0,
) -> ContextScore:
    """The scores of `scan` in its own grid: planes smoothed and fused, air set to 0.

    Args:
        scan: The scan.
        main: The plane that is scored in any case.
        context: What to do.
        score_plane: Scores one of the other planes; called only where they are to be fused.
        smooth_mm: Standard deviation of the Gaussian along all three axes, in millimeters.
    """
    fused, notes = _planes(scan, main, context, score_plane, smooth_mm)
    outside = outside_air(scan, main[0].window) if context.air == "ignore" else None
    if outside is not None:
        fused[outside] = 0.0
        notes.append(f"{float(outside.mean()):.0%} of the volume is air outside of the body; its scores were set to 0.")
    np.clip(fused, 0.0, 1.0, out=fused)
    return ContextScore(fused, outside, tuple(notes))


def _planes(
    scan: Scan,
    main: ScoredPlane,
    context: ContextCard,
    score_plane: Callable[[Axis], ScoredPlane],
    smooth_mm: float,
) -> tuple[NDArray[np.float32], list[str]]:
    own = main[0].plan.plane
    if context.planes == "acquisition":
        return _restored(main, context, smooth_mm), []
    if 1 in scan.shape:
        return _restored(main, context, smooth_mm), []
    if why := why_one_plane(scan):
        note = f"Only the {own} slices were scored, though all planes were asked for: {why}."
        return _restored(main, context, smooth_mm), [note]
    mean = LogitMean()
    for scored in chain((main,), (score_plane(plane) for plane in PLANES if plane != own)):
        where = scored_voxels(scan.shape, scored[0].indices[scored[0].tissue], scored[0].plan.axis, None)
        mean.add(logit_of(_restored(scored, context, smooth_mm)), where)
    return mean.score(), [f"The scores of axial, coronal and sagittal slices were fused; slices listed are {own}."]


def _restored(plane: ScoredPlane, context: ContextCard, smooth_mm: float) -> NDArray[np.float32]:
    stack, scores = plane
    return stack.restore(smooth(stack, smooth_along_axis(stack, scores, context.smooth_axis_mm), smooth_mm))
