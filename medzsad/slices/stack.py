"""One scan as a stack of slices: batches for the model on the way in, the scan's own grid on the way back."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzsad.config import Axis, ResizeRule
from medzsad.scan.records import Scan
from medzsad.slices.transforms import (
    SlicePlan,
    SquarePlane,
    clip_normalize,
    gray_levels,
    oriented_view,
    plan_slices,
)
from medzsad.slices.window import Window, resolve_window

# A slice with less tissue than this share of its pixels is not scored.
MIN_TISSUE_FRACTION = 0.005
_RESTORED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class SliceStack:
    """The slices of a scan.

    Attributes:
        plan: How the scan was cut.
        window: What was applied.
        size: Side of the square that the model sees, in pixels.
        tissue: (S,) bool, slices that hold tissue; the others are not scored.
        indices: (S,) index along the scan's slicing axis of every slice of the stack.
    """

    plan: SlicePlan
    window: Window
    size: int
    tissue: NDArray[np.bool_]
    indices: NDArray[np.int64]
    _scan: Scan
    _view: NDArray[np.float32]
    _square: SquarePlane

    def __len__(self) -> int:
        return int(self._view.shape[2])

    @property
    def pixel_mm(self) -> tuple[float, float, float]:
        """Size of one element of a (S, size, size) stack in millimeters: (slice, row, column)."""
        height, width = self._view.shape[:2]
        inner = self._square.inner_size(height, width)
        rows, columns = self.plan.pixel_mm
        return (self.plan.slice_mm, height * rows / inner[0], width * columns / inner[1])

    @property
    def has_physical_space(self) -> bool:
        """Whether the distance between slices was measured; see `Scan.has_physical_space`."""
        return self._scan.has_physical_space

    def gray(self, position: int) -> Tensor:
        """Slice `position` of the stack as (size, size) or (3, size, size) in [0, 1], before CLIP's normalization."""
        planes = self._squares(np.array([position]))[0]
        return planes[0] if planes.shape[0] == 1 else planes

    def chosen(self, step: int = 1) -> NDArray[np.int64]:
        """Positions in the stack of the slices to score.

        These are, of each run of slices with tissue, every `step`-th from the first on, and the last.
        """
        positions = np.flatnonzero(self.tissue)
        runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
        return np.concatenate([np.union1d(run[::step], run[-1:]) for run in runs]).astype(np.int64)

    def batches(self, batch_size: int, step: int = 1) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """The chosen slices in order: (positions in the stack, images (b, 3, size, size) normalized for CLIP)."""
        positions = self.chosen(step)
        for start in range(0, len(positions), batch_size):
            batch = positions[start : start + batch_size]
            yield batch, clip_normalize(self._squares(batch).transpose(0, 1)).transpose(0, 1).contiguous()

    def _squares(self, positions: NDArray[np.int64]) -> Tensor:
        """(b, 1 or 3, size, size) in [0, 1]; channels are treated alike, so all slices pass as channels of one."""
        planes = np.moveaxis(self._view[:, :, positions], 2, 0)  # (b, H, W) or (b, H, W, 3)
        channels = planes[:, None] if planes.ndim == 3 else np.moveaxis(planes, -1, 1)
        flat = torch.from_numpy(np.ascontiguousarray(channels.reshape(-1, *channels.shape[2:])))
        squares = self._square(gray_levels(flat, self.window))
        return squares.unflatten(0, channels.shape[:2])  # type: ignore[no-untyped-call,no-any-return]

    def restore(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores in the scan's own grid.

        Args:
            scores: (S, size, size), one plane per slice of the stack.

        Returns:
            (i, j, k) float32.
        """
        restored = np.zeros(self._scan.shape, np.float32)
        view = oriented_view(restored, self._scan, self.plan)
        height, width = view.shape[:2]
        positions = np.flatnonzero(scores.any(axis=(1, 2)))
        for start in range(0, len(positions), _RESTORED_AT_ONCE):
            chosen = positions[start : start + _RESTORED_AT_ONCE]
            planes = self._square.inverse(torch.from_numpy(scores[chosen]), (height, width))
            view[:, :, chosen] = np.moveaxis(planes.numpy(), 0, 2)
        return restored


def stack_slices(
    scan: Scan,
    *,
    size: int,
    axis: Axis = "acquisition",
    window: str = "auto",
    resize: ResizeRule = "fit",
) -> SliceStack:
    """The slices of `scan` as squares of `size` pixels.

    Raises:
        ConfigError: The window is unknown.
    """
    plan = plan_slices(scan, axis)
    chosen = resolve_window(scan, window)
    view = oriented_view(scan.voxels, scan, plan)
    count = view.shape[2]
    indices = np.arange(count)[::-1] if plan.flipped else np.arange(count)
    tissue = _tissue(view, chosen.tissue_level)
    if plan.axis == scan.acquisition_axis:
        tissue &= ~np.isin(indices, scan.missing_slices)
    return SliceStack(
        plan=plan,
        window=chosen,
        size=size,
        tissue=tissue,
        indices=indices.astype(np.int64),
        _scan=scan,
        _view=view,
        _square=SquarePlane(size, resize, plan.pixel_mm),
    )


def _tissue(view: NDArray[np.float32], level: float) -> NDArray[np.bool_]:
    planes = view if view.ndim == 3 else view.max(axis=3)
    share = [np.count_nonzero(planes[:, :, s] > level) / planes[:, :, s].size for s in range(planes.shape[2])]
    return np.asarray(share) >= MIN_TISSUE_FRACTION
