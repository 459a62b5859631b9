"""The columns of the table that are models: weights files on the product's own path, and an untrained tower."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from yardstick_data import Picture, Volume

from medzsad.clip.tower import Tower, build_tower
from medzsad.errors import ScoringError
from medzsad.methods.detector import Detector
from medzsad.run.detect import detect
from medzsad.run.pipeline import load_detector
from medzsad.scan.records import Scan
from medzsad.volume.records import CaseResult

_SEED = 0

Kind = Literal["weights", "untrained", "trivial"]


@dataclass(frozen=True, slots=True)
class PictureScore:
    """What a detector says about a picture.

    Attributes:
        map: (rows, columns) scores.
        image: Score of the whole picture.
        peak: Largest pixel score; None where it means nothing.
        mask: (rows, columns) bool, what is marked by default; None without a fixed threshold.
    """

    map: NDArray[np.float32]
    image: float
    peak: float | None
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run tells its user about a volume with the default options.

    Attributes:
        outcome: "lesion" or "no_lesion".
        mask: (i, j, k) bool, what is marked.
        lesions_ml: Volume of each lesion.
    """

    outcome: str
    mask: NDArray[np.bool_]
    lesions_ml: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class VolumeScore:
    """Scores (i, j, k) of a volume, and the answer at the fixed threshold, None without one."""

    map: NDArray[np.float32]
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table.

    Attributes:
        name: As printed.
        kind: What it is.
        sha256: Of the weights file; "" for others.
        threshold: The fixed threshold; None without one.
        provenance: How the threshold was chosen.
        picture: Scores of a picture.
        volume: Scores of a volume.
    """

    name: str
    kind: Kind
    sha256: str
    threshold: float | None
    provenance: str
    picture: Callable[[Picture], PictureScore]
    volume: Callable[[Volume], VolumeScore]


def weights_column(weights: str) -> Column:
    """The column of a weights file, at its own fixed threshold."""
    return model_column(load_detector(weights, device="cpu"), "weights")


def untrained_column(weights: str) -> Column | None:
    """The column of a tower and prompts as those of the weights, fresh and random; None if the tower is not inside."""
    known = load_detector(weights, device="cpu")
    card = known.card
    if not card.clip_config:
        return None
    torch.manual_seed(_SEED)
    clip = build_tower(card.clip_config, card.spec)
    model = known.method.model(**card.sizes)
    blank = card.model_copy(update={"name": "untrained tower", "sha256": "", "threshold": 0.5})
    detector = Detector(Tower(clip, card.spec), model, known.method, blank).frozen()
    return model_column(detector, "untrained")


def model_column(detector: Detector, kind: Kind) -> Column:
    """The column of a detector: each picture and each volume is a case of its own, with the defaults of a run."""
    fixed = kind == "weights" and detector.card.threshold is not None

    def picture(given: Picture) -> PictureScore:
        result, score, mask = _result(given.scan(), detector, fixed)
        (only,) = result.slices
        marked = mask[:, :, 0].T if fixed else None
        return PictureScore(score[:, :, 0].T, only.image_score, only.max_score, marked)

    def volume(given: Volume) -> VolumeScore:
        result, score, mask = _result(given.path, detector, fixed)
        lesions_ml = tuple((lesion.volume_mm3 or 0.0) / 1000 for lesion in result.lesions)
        return VolumeScore(score, Answer(result.outcome.value, mask, lesions_ml) if fixed else None)

    return Column(
        f"{detector.card.name} {detector.card.sha256[:8]}" if kind == "weights" else detector.card.name,
        kind,
        detector.card.sha256 if kind == "weights" else "",
        detector.card.threshold if fixed else None,
        detector.card.threshold_provenance if fixed else "",
        picture,
        volume,
    )


def _result(
    scan: Scan | Path, detector: Detector, fixed: bool
) -> tuple[CaseResult, NDArray[np.float32], NDArray[np.bool_]]:
    """The result with its score and mask, both there."""
    result = detect(scan, detector=detector, **({} if fixed else {"threshold": 0.5}))
    if result.score is None or result.mask is None:
        raise ScoringError(f"{result.name} was not scored: {result.message}")
    return result, result.score, result.mask > 0
