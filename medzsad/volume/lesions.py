"""Connected components of a thresholded score, as lesions measured in the scan's own space."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.scan.geometry import lps_from_ras
from medzsad.scan.records import Scan
from medzsad.volume.records import Lesion

# Voxels that share a face, an edge or a corner belong together.
FULL_CONNECTIVITY = np.ones((3, 3, 3), dtype=bool)

Box = tuple[slice, slice, slice]


def label_lesions(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], Box]:
    """Numbers of the connected components inside the mask's bounding box, and that box.

    Args:
        mask: (i, j, k), non-zero inside. Voxels that touch by a face, an edge or a corner belong together.

    Returns:
        Labels of the part of the volume inside the box (0 outside, 1 for the largest component, and so on; of equal
        sizes, the one whose first voxel in i, j, k order comes first is numbered first), and the box as slices into
        the volume. An empty mask gives an empty box.
    """
    inside = np.ascontiguousarray(mask).astype(bool, copy=False)
    boxes = ndimage.find_objects(inside.view(np.uint8))
    if not boxes:
        empty: Box = (slice(0, 0), slice(0, 0), slice(0, 0))
        return np.zeros((0, 0, 0), dtype=np.int32), empty
    box: Box = boxes[0]
    raw = np.empty(inside[box].shape, dtype=np.int32)
    ndimage.label(inside[box], structure=FULL_CONNECTIVITY, output=raw)
    counts = np.bincount(raw.ravel())[1:]
    # scipy numbers components by their first voxel, and a stable sort keeps that order among equals.
    order = np.argsort(-counts, kind="stable")
    renumber = np.zeros(len(counts) + 1, dtype=np.int32)
    renumber[order + 1] = np.arange(1, len(counts) + 1, dtype=np.int32)
    return renumber[raw], box


def find_lesions(
    mask_candidate: NDArray[np.bool_],
    score: NDArray[np.float32],
    spread: NDArray[np.float32] | None,
    scan: Scan,
    slice_axis: int,
    min_volume_mm3: float = 0.0,
) -> tuple[NDArray[np.uint8], tuple[Lesion, ...]]:
    """The mask without components that are too small, and its lesions by falling volume.

    A component of exactly `min_volume_mm3` stays. Time grows with the number of voxels inside, not with
    voxels times components.

    Args:
        mask_candidate: (i, j, k), where the score reached the threshold.
        score: (i, j, k) in [0, 1].
        spread: (i, j, k) standard deviation over prompt samples, or None.
        scan: The scan in whose grid all of them lie.
        slice_axis: Array axis (0, 1, 2) along which the scan was sliced.
        min_volume_mm3: Least volume of a lesion in cubic millimeters; in voxels for a scan without a physical space.

    Returns:
        (i, j, k) uint8 mask with 1 inside lesions, and one record per lesion; two equally large lesions are ordered
        by their first voxel.
    """
    labels, box = label_lesions(mask_candidate)
    mask = np.zeros(mask_candidate.shape, dtype=np.uint8)
    counts = np.bincount(labels.ravel())[1:]
    voxel_mm3 = abs(float(np.linalg.det(scan.affine_ras[:3, :3]))) if scan.has_physical_space else 1.0
    # Labels fall with volume, so the lesions to keep are the first ones.
    kept = int(np.count_nonzero(counts * voxel_mm3 >= min_volume_mm3 * (1 - 1e-9)))
    if kept == 0:
        return mask, ()
    labels[labels > kept] = 0
    mask[box] = labels > 0
    return mask, _lesion_records(labels, box, score, spread, scan, slice_axis, voxel_mm3)


def _lesion_records(
    labels: NDArray[np.int32],
    box: Box,
    score: NDArray[np.float32],
    spread: NDArray[np.float32] | None,
    scan: Scan,
    slice_axis: int,
    voxel_mm3: float,
) -> tuple[Lesion, ...]:
    start = np.array([part.start for part in box])
    sums = _sum_up(labels, score[box], None if spread is None else spread[box])
    centroids = sums.centroid_index + start  # (lesions, 3)
    centroids_ras = centroids @ scan.affine_ras[:3, :3].T + scan.affine_ras[:3, 3]
    centroids_lps = lps_from_ras(centroids_ras)
    measured = scan.has_physical_space
    lesions = []
    for row, parts in enumerate(ndimage.find_objects(labels)):
        i, j, k = ((int(p.start + s), int(p.stop + s - 1)) for p, s in zip(parts, start, strict=True))
        bounds = (i, j, k)
        instances = [number for number in scan.source.instance_numbers[k[0] : k[1] + 1] if number is not None]
        lesions.append(
            Lesion(
                index=row + 1,
                voxel_count=int(sums.size[row]),
                volume_mm3=float(sums.size[row] * voxel_mm3) if measured else None,
                max_score=float(sums.max_score[row]),
                mean_score=float(sums.mean_score[row]),
                mean_spread=None if sums.mean_spread is None else float(sums.mean_spread[row]),
                centroid_index=_triple(centroids[row]),
                centroid_lps_mm=_triple(centroids_lps[row]) if measured else None,
                centroid_ras_mm=_triple(centroids_ras[row]) if measured else None,
                bounding_box=bounds,
                slice_axis=slice_axis,
                slice_first=bounds[slice_axis][0],
                slice_last=bounds[slice_axis][1],
                instance_first=min(instances, default=None),
                instance_last=max(instances, default=None),
                sop_instance_uids=_touched_uids(scan.source.sop_instance_uids, k),
            )
        )
    return tuple(lesions)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Measurements per lesion: (lesions,) arrays, and (lesions, 3) voxel indices from the corner of the box."""

    size: NDArray[np.int64]
    centroid_index: NDArray[np.float64]
    max_score: NDArray[np.float32]
    mean_score: NDArray[np.float64]
    mean_spread: NDArray[np.float64] | None


def _sum_up(labels: NDArray[np.int32], score: NDArray[np.float32], spread: NDArray[np.float32] | None) -> _Sums:
    count = int(labels.max())
    size = np.zeros(count + 1, dtype=np.int64)
    positions = np.zeros((count + 1, 3))
    score_sum, spread_sum = np.zeros(count + 1), np.zeros(count + 1)
    max_score = np.zeros(count + 1, dtype=np.float32)
    # Plane by plane: coordinates of a whole volume would take several times its memory. Of scikit-image's
    # regionprops_table the means differ in the sixth digit (it adds up in float32), and it takes 12 times as long.
    for i, plane in enumerate(labels):
        j, k = np.nonzero(plane)
        owner = plane[j, k]
        inside = score[i][j, k]
        here = np.bincount(owner, minlength=count + 1)
        size += here
        positions[:, 0] += i * here
        positions[:, 1] += np.bincount(owner, weights=j, minlength=count + 1)
        positions[:, 2] += np.bincount(owner, weights=k, minlength=count + 1)
        score_sum += np.bincount(owner, weights=inside, minlength=count + 1)
        np.maximum.at(max_score, owner, inside)
        if spread is not None:
            spread_sum += np.bincount(owner, weights=spread[i][j, k], minlength=count + 1)
    return _Sums(
        size=size[1:],
        centroid_index=positions[1:] / size[1:, None],
        max_score=max_score[1:],
        mean_score=score_sum[1:] / size[1:],
        mean_spread=None if spread is None else spread_sum[1:] / size[1:],
    )


def _touched_uids(uids: Sequence[str], k: tuple[int, int]) -> tuple[str, ...]:
    # A component is connected, so it touches every k between its first and its last.
    return tuple(dict.fromkeys(uid for uid in uids[k[0] : k[1] + 1] if uid))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))
