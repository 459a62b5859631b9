"""A detector with all that its scores of an evaluation depend on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzsad.config import Precision, ResizeRule
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.run.case import model_record
from medzsad.scoring.engine import score_batch
from medzsad.version import __version__


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores images of one benchmark.

    Attributes:
        detector: Ready to score.
        word: For the prompts of all classes; "" calls each class by its name in the data.
        seed: Of the prompt samples.
        precision: Arithmetic of the model.
        batch_size: Images at once; changes no score.
    """

    detector: Detector
    word: str = ""
    seed: int = 0
    precision: Precision = "float32"
    batch_size: int = 8

    @property
    def side(self) -> int:
        """Of the model's square, in pixels."""
        return self.detector.spec.image_size

    @property
    def device(self) -> torch.device:
        """Where the detector runs."""
        return self.detector.device

    def called(self, class_name: str) -> str:
        """The word for a class in the prompts."""
        return self.word or class_name or self.detector.card.class_name

    def score(self, images: Sequence[Tensor], class_names: Sequence[str]) -> list[tuple[NDArray[np.float32], float]]:
        """Map (side, side) and image probability of each normalized image (3, side, side).

        Args:
            images: A batch.
            class_names: Of the data, one each.
        """
        scores: list[tuple[NDArray[np.float32], float]] = []
        for word, start, stop in _runs([self.called(name) for name in class_names]):
            batch = torch.stack(list(images[start:stop]))
            for maps, _, probabilities in score_batch(
                self.detector, batch, word, SharedNoise(self.seed), self.device, self.precision
            ):
                scores += [(one, float(p)) for one, p in zip(maps, probabilities, strict=True)]
        return scores

    def key(self, resize: ResizeRule) -> dict[str, Any]:
        """All that the scores depend on but the images, as JSON holds it."""
        return {
            "medzsad_version": __version__,
            "model": model_record(self.detector, self.word).model_dump(mode="json"),
            "image_size": self.side,
            "resize": resize,
            "seed": self.seed,
            "precision": self.precision,
        }


def _runs(words: Sequence[str]) -> list[tuple[str, int, int]]:
    """Stretches of equal words: (word, start, stop)."""
    starts = [place for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
    return [(words[start], start, stop) for start, stop in zip(starts, [*starts[1:], len(words)], strict=True)]
