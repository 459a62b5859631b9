"""Decisions and labeled volumes for tests: bodies with bright spots, of which the large ones are lesions."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzsad.scan.records import Scan
from medzsad.volume.candidates import FEATURES
from medzsad.weights.card import DecisionCard, DecisionLevel, Decisions, OperatingCurve, OperatingPoint
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan

SHAPE, SPACING_MM = (32, 36, 10), (2.0, 1.8, 4.0)


@dataclass(frozen=True, slots=True)
class Labeled:
    """A scan whose lesions are known."""

    scan: Scan
    mask: NDArray[np.bool_]


def labeled_volume(seed: int, lesion: bool, name: str = "") -> Labeled:
    """A body with two small bright spots that are none, and with one large lesion or not."""
    rng = np.random.default_rng([seed, 17])
    center = tuple(rng.uniform(0.4, 0.6, 3))
    radius = tuple(rng.uniform(7.0, 11.0, 3))
    body = phantom_scan(
        SHAPE,
        SPACING_MM,
        lesion_center_fraction=(center[0], center[1], center[2]),
        lesion_radius_mm=(radius[0], radius[1], radius[2]),
        lesion=lesion,
        name=name or f"volume-{seed}",
        seed=seed,
    )
    voxels = body.scan.voxels.copy()
    for _ in range(2):
        i, j, k = (int(rng.integers(side // 4, 3 * side // 4)) for side in SHAPE)
        voxels[i : i + 2, j : j + 2, k] = rng.uniform(800.0, 1000.0)
    return Labeled(replace(body.scan, voxels=voxels), body.lesion_mask)


def labeled_volumes(count: int) -> list[Labeled]:
    """Healthy ones and ones with a lesion by turns."""
    return [labeled_volume(seed, lesion=seed % 2 == 1) for seed in range(count)]


def decision_card(**changes: Any) -> DecisionCard:
    """Evidence is the common logarithm of the volume in cubic millimeters; lesions have 100, 1000 or 10000 mm3."""
    size = tuple(float(name == "log_size") for name in FEATURES)
    plain: dict[str, Any] = {
        "features": FEATURES,
        "mean": (0.0,) * len(FEATURES),
        "scale": (1.0,) * len(FEATURES),
        "coefficients": size,
        "intercept": 0.0,
        "voxel_threshold": 0.75,
        "levels": {
            "high": DecisionLevel(evidence=2.0, share=0.2),
            "balanced": DecisionLevel(evidence=3.0, share=0.05),
            "low": DecisionLevel(evidence=4.0, share=0.0),
        },
        "false_per_volume": ((2.0, 0.2), (3.0, 0.05), (3.5, 0.01)),
        "probability": (2.0, -6.0),
        "operating": OperatingCurve(
            size_unit="mm3",
            size_from=(0.0, 1000.0),
            contrast_from=(0.0, 1.0),
            lesions_by_size=(4, 10),
            lesions_by_contrast=(7, 7),
            points=(
                point(2.0, "high", 0.5, (3, 10)),
                point(3.0, "balanced", 0.06, (1, 9)),
                point(4.0, "low", 0.0, (0, 5)),
            ),
        ),
        "healthy_scans": 100,
        "lesion_scans": 12,
        "provenance": "written by hand",
    }
    return DecisionCard(**(plain | changes))


def point(evidence: float, level: Any, false: float, found: tuple[int, int]) -> OperatingPoint:
    """A point of an operating curve."""
    return OperatingPoint(
        evidence=evidence, level=level, false_lesions_per_scan=false, found_by_size=found, found_by_contrast=found
    )


def deciding_detector(card: DecisionCard | None = None, pictures: DecisionCard | None = None) -> BrightnessDetector:
    """A detector whose weights decide per lesion."""
    detector = BrightnessDetector(size=48)
    decision = Decisions(volumes=card or decision_card(), pictures=pictures)
    detector.card = detector.card.model_copy(update={"decision": decision})
    return detector
