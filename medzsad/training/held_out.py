"""Scores of validation images from their features, as a detector gives them."""

from collections.abc import Callable, Sequence

import open_clip
import torch
from torch import Tensor

from medzsad.config import Precision
from medzsad.drawing.contact_sheet import SheetRow
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.maps import score_maps
from medzsad.methods.noise import SharedNoise
from medzsad.scoring.device import autocast
from medzsad.training.distributed import World
from medzsad.training.features import Batch, FeatureSource
from medzsad.training.validation import ValidationScores

_BATCH = 8
_SHEET_ROWS = 12


class Scorer:
    """Scores batches of features with prompts in training.

    Args:
        clip: Frozen tower.
        prompts: In training.
        samples: Prompt samples per image.
        seed: Of these; all images share them.
        precision: Arithmetic of the text side.
    """

    def __init__(
        self, clip: open_clip.CLIP, prompts: BayesPFL, *, samples: int, seed: int, precision: Precision
    ) -> None:
        self._clip, self._prompts = clip, prompts
        self._samples, self._seed, self._precision = samples, seed, precision

    @torch.no_grad()
    def __call__(self, batch: Batch, stage: int) -> tuple[Tensor, Tensor]:
        """Score maps (b, S, S) and image scores (b,) in [0, 1]."""
        prompts, features = self._prompts, batch.features
        noise = SharedNoise(self._seed).draw(len(batch.class_names), self._samples, prompts.sizes["width"])
        sample = prompts.sample_prompts(features, noise)
        with autocast(features.cls.device, self._precision):
            text = prompts.encode_prompts(self._clip, sample, batch.class_names)
        layers = prompts.pixel_logits(features, text)
        size = (batch.truth.masks.shape[-2], batch.truth.masks.shape[-1])
        maps, _ = score_maps(layers, features.grid, size, self._samples)
        image = prompts.image_logits(features, text, stage).softmax(dim=-1)[..., 1].mean(dim=1)
        return maps, image


def validation_scores(
    scorer: Scorer, source: FeatureSource, stage: int, world: World, keep_going: Callable[[], None]
) -> dict[str, ValidationScores]:
    """Scores of all images by class, the same in every process.

    Args:
        scorer: Gives the scores.
        source: The images.
        stage: Whose image head is used.
        world: Each process scores its share.
        keep_going: Called between batches; raises to end early.
    """
    own = list(range(len(source.records)))[world.rank :: world.size]
    plan = [own[start : start + _BATCH] for start in range(0, len(own), _BATCH)]
    found: dict[str, ValidationScores] = {}
    for batch in source.batches(plan):
        keep_going()
        maps, images = scorer(batch, stage)
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


def sheet_rows(scorer: Scorer, source: FeatureSource, stage: int) -> list[SheetRow]:
    """The same few images of every epoch with their maps: of each class the first defects and sound ones, in turns."""
    rows = []
    for place in _shown(source):
        batch = next(iter(source.batches([[place]])))
        maps, _ = scorer(batch, stage)
        image, mask, label = source.picture(place)
        title = f"{batch.class_names[0]}, {'defect' if label else 'sound'}"
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
