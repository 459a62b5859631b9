"""What a header tells before any voxel is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medzsad.errors import ReasonCode, RefusedError


@dataclass(frozen=True, slots=True)
class Peek:
    """Grid of one file by its header.

    Attributes:
        shape: (i, j, k).
        spacing_mm: (i, j, k).
        frames: Length of the fourth axis, 1 if there is none.
        modality: Modality, where the format says.
        data_files: Files besides the one looked at that belong to it.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    frames: int = 1
    modality: str = ""
    data_files: tuple[Path, ...] = ()


def chosen_frames(place: str, count: int, frame: int | None, all_frames: bool) -> Sequence[int]:
    """The indices of the frames that become cases.

    Raises:
        RefusedError: SERIES_4D, none was chosen or the chosen one does not exist.
    """
    if all_frames:
        return range(count)
    if frame is None:
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {count} frames (a fourth axis). Choose one with --frame 0 to {count - 1}, or --all-frames.",
        )
    if not 0 <= frame < count:
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {count} frames, number {frame} is none of them (0 to {count - 1}).",
        )
    return [frame]
