"""Scores of held-out images from their features, given by the detector as it stands."""

from collections.abc import Callable, Sequence

from torch import Tensor

from medzsad.drawing.contact_sheet import SheetRow
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.training.distributed import World
from medzsad.training.features import FeatureBatch, FeatureSource
from medzsad.training.validation import ValidationScores

_BATCH = 8
_SHEET_ROWS = 12


def batch_scores(detector: Detector, batch: FeatureBatch, seed: int) -> tuple[Tensor, Tensor]:
    """Score maps (b, S, S) and image scores (b,) in [0, 1]; `seed` is that of the prompt samples."""
    size = (batch.truth.masks.shape[-2], batch.truth.masks.shape[-1])
    found = detector.predict_features(batch.features, batch.class_names, SharedNoise(seed), size)
    return found.score_map, found.image_score


def validation_scores(
    detector: Detector, seed: int, source: FeatureSource, world: World, keep_going: Callable[[], None]
) -> dict[str, ValidationScores]:
    """Scores of all images by class, the same in every process.

    Args:
        detector: Gives the scores.
        seed: Of the prompt samples; all images share them.
        source: The images.
        world: Each process scores its share.
        keep_going: Called between batches; raises to end early.
    """
    own = list(range(len(source.records)))[world.rank :: world.size]
    plan = [own[start : start + _BATCH] for start in range(0, len(own), _BATCH)]
    found: dict[str, ValidationScores] = {}
    for batch in source.batches(plan):
        keep_going()
        maps, images = batch_scores(detector, batch, seed)
        for place, name in enumerate(batch.class_names):
            scores = found.setdefault(name, ValidationScores())
            scores.pixels.add(maps[place], batch.truth.masks[place], batch.truth.has_mask[place])
            scores.images.append(float(images[place]))
            scores.labels.append(int(batch.truth.labels[place]))
    total: dict[str, ValidationScores] = {}
    for part in world.gather(found):
        for name, scores in part.items():
            total.setdefault(name, ValidationScores()).merge(scores)
    return dict(sorted(total.items()))


def sheet_rows(detector: Detector, seed: int, source: FeatureSource) -> list[SheetRow]:
    """The same few images of every epoch with their maps: of each class the first defects and normal ones, in turns."""
    rows = []
    for place in _shown(source):
        batch = next(iter(source.batches([[place]])))
        maps, _ = batch_scores(detector, batch, seed)
        image, mask, label = source.picture(place)
        title = f"{batch.class_names[0]}, {'defect' if label else 'normal'}"
        rows.append(SheetRow(image, mask, maps[0].cpu(), title))
    return rows


def _shown(source: FeatureSource) -> Sequence[int]:
    kinds: dict[tuple[str, int], list[int]] = {}
    for place, record in enumerate(source.records):
        kinds.setdefault((record.class_name, record.label), []).append(place)
    turns = max((len(places) for places in kinds.values()), default=0)
    ordered = [
        kinds[kind][turn] for turn in range(turns) for kind in sorted(kinds, reverse=True) if turn < len(kinds[kind])
    ]
    return ordered[:_SHEET_ROWS]
