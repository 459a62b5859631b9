"""Masks and label maps, told from scans: they hold names of regions and no gray values, and must not be scored."""

import re

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ReasonCode, RefusedError

# A mask has few values, and small ones; an atlas may have many, which then fill whole regions.
_FEW_VALUES = 32
_SMALL_VALUE = 255
_MOST_LABELS = 2048
_HIGHEST_LABEL = 2**20
# How many of the voxels that are not background have the value of their neighbor, at least. In noise it is a tenth,
# in the smoothest 8-bit scan a third, in thin regions of an atlas two thirds.
_UNIFORM_FEW = 0.5
_UNIFORM_MANY = 0.6
_UNIFORM_NAMED = 0.35
_PROBED_VOXELS = 2_000_000
_NAMED = re.compile(
    r"(^|[-_. ])(d?seg|segmentation|labels?|label-?map|masks?|rois?|aseg|aparc|atlas|parcellation|gt)([-_. ]|$)",
    re.IGNORECASE,
)


def check_no_labels(voxels: NDArray[np.float32], place: str) -> None:
    """Refuses a volume that holds regions in place of gray values.

    Either there are just two values, whatever they are, or all are whole, none is negative, and neighbors mostly agree:
    at most 32 none above 255, or up to 2048 in regions that are uniform throughout. A name such as "liver_seg" makes
    fewer equal neighbors suffice. In a single slice only two values count as labels: pictures with few shades of gray
    are common.

    Args:
        voxels: (i, j, k), finite; color is never taken for labels.
        place: The file or folder, as messages call it.

    Raises:
        RefusedError: LOOKS_LIKE_LABELS.
    """
    if voxels.ndim != 3:
        return
    named = bool(_NAMED.search(place))
    # Most scans are told by their middle alone: the values are many there, or differ from one voxel to the next.
    middle = _middle(voxels)
    if _at_most_two_values(middle) and _at_most_two_values(voxels):
        raise said_labels(place, f"its two values, {voxels.min():g} and {voxels.max():g}")
    if not _like_labels(middle, named=named, sure=False):
        return
    if _like_labels(voxels, named=named):
        highest, count = int(voxels.max()), len(np.unique(voxels))
        raise said_labels(place, f"its {count} different whole numbers (up to {highest}) in uniform regions")


def said_labels(place: str, sign: str) -> RefusedError:
    """The refusal of labels, with what tells them."""
    return RefusedError(
        ReasonCode.LOOKS_LIKE_LABELS,
        f"{place} looks like a mask or label map, not like a scan, by {sign}. Leave it out, or use --allow-labels"
        " if it is a scan.",
    )


def _at_most_two_values(voxels: NDArray[np.float32]) -> bool:
    lowest, highest = voxels.min(), voxels.max()
    return all(bool(((slab == lowest) | (slab == highest)).all()) for slab in voxels)


def _like_labels(voxels: NDArray[np.float32], *, named: bool, sure: bool = True) -> bool:
    """Whether the values are those of labels; if one need not be sure, also where too few are there to tell."""
    counts = _counts(voxels)
    if counts is None:
        return False
    values = np.flatnonzero(counts)
    if len(values) <= 2 or min(voxels.shape) == 1:
        return len(values) == 2 or (not sure and len(values) < 2)
    few = len(values) <= _FEW_VALUES
    if few and values[-1] > _SMALL_VALUE and not named:
        return not sure
    # Gray values that were cut off at white are as uniform as a region, but not those between black and white.
    common = int(np.argmax(counts))
    equal, looked_at = _neighbors(voxels, (common, common if few else int(values[-1])))
    least = _UNIFORM_NAMED if named else _UNIFORM_FEW if few else _UNIFORM_MANY
    if not sure:
        return looked_at < voxels.size // 20 or equal >= 0.8 * least * looked_at
    return looked_at > 0 and equal >= least * looked_at


def _counts(voxels: NDArray[np.float32]) -> NDArray[np.int64] | None:
    """How often each whole number occurs, or None where the values cannot be labels."""
    lowest, highest = float(voxels.min()), float(voxels.max())
    if lowest < 0 or highest > _HIGHEST_LABEL:
        return None
    counts = np.zeros(int(highest) + 1, np.int64)
    flat = voxels.ravel(order="K")
    for part in np.array_split(flat, max(1, flat.size // _PROBED_VOXELS)):
        whole = part.astype(np.int32)
        if not np.array_equal(whole, part):
            return None
        counts += np.bincount(whole, minlength=len(counts))
        if np.count_nonzero(counts) > _MOST_LABELS:
            return None
    return counts


def _middle(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle of the volume, as large as can be probed quickly."""
    side = int(_PROBED_VOXELS ** (1 / 3))
    i, j, k = (slice(max(0, (count - side) // 2), (count + side) // 2) for count in voxels.shape)
    return voxels[i, j, k]


def _neighbors(voxels: NDArray[np.float32], background: tuple[int, int]) -> tuple[int, int]:
    """How many pairs of neighbors have equal values, of how many where one is none of the background's."""
    equal = looked_at = 0
    step = max(1, _PROBED_VOXELS * voxels.shape[0] // voxels.size)  # slab by slab, for the memory
    for start in range(0, voxels.shape[0], step):
        slab = voxels[start : start + step + 1]
        inner = slab[:step]
        pairs = [(slab[:-1], slab[1:]), (inner[:, :-1], inner[:, 1:]), (inner[:, :, :-1], inner[:, :, 1:])]
        for first, second in pairs:
            either = ~(np.isin(first, background) & np.isin(second, background))
            looked_at += int(np.count_nonzero(either))
            equal += int(np.count_nonzero(either & (first == second)))
    return equal, looked_at
