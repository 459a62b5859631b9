"""Plain references for the metrics: loops over thresholds and regions, as the definitions say."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

Maps = list[NDArray[np.float32]]
Masks = list[NDArray[np.bool_]]


def plain_pro_curve(maps: Maps, masks: Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FPR and PRO for every distinct threshold from the highest down, (0, 0) first."""
    values = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    rates, overlaps = [0.0], [0.0]
    normal = np.concatenate([m[~t] for m, t in zip(maps, masks, strict=True)])
    regions = plain_regions(maps, masks)
    for value in values:
        rates.append(float((normal >= value).mean()))
        overlaps.append(float(np.mean([(region >= value).mean() for region in regions])))
    return np.array(rates), np.array(overlaps)


def plain_regions(maps: Maps, masks: Masks) -> Maps:
    """Scores inside each region of each mask."""
    return [
        scores[tuple(region.coords.T)]
        for scores, mask in zip(maps, masks, strict=True)
        for region in regionprops(label(mask))
    ]


def plain_aupro(maps: Maps, masks: Masks, limit: float = 0.3) -> float:
    """Exact PRO curve integrated up to the limit and divided by it."""
    rates, overlaps = plain_pro_curve(maps, masks)
    area = 0.0
    for left, right, low, high in zip(rates[:-1], rates[1:], overlaps[:-1], overlaps[1:], strict=True):
        if left >= limit:
            break
        end = min(right, limit)
        top = low + (high - low) * ((end - left) / (right - left) if right > left else 1)
        area += (end - left) * (low + top) / 2
    return area / limit


def plain_rescaled_aupro(maps: Maps, masks: Masks, limit: float = 0.3) -> float:
    """200 thresholds from the least score on, FPR below the limit stretched to [0, 1]."""
    everything = np.concatenate([m.ravel() for m in maps]).astype(np.float64)
    low, high = everything.min(), everything.max()
    normal = np.concatenate([m[~t] for m, t in zip(maps, masks, strict=True)])
    regions = plain_regions(maps, masks)
    rates, overlaps = [], []
    for step in range(200):
        threshold = low + (high - low) / 200 * step
        rates.append(float((normal > threshold).mean()))
        overlaps.append(float(np.mean([(region > threshold).mean() for region in regions])))
    points = sorted((rate, overlap) for rate, overlap in zip(rates, overlaps, strict=True) if rate < limit)
    if not points or points[-1][0] == points[0][0]:
        return float("nan")
    x, y = np.array(points).T
    x = (x - x.min()) / (x.max() - x.min())
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
