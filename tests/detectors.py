"""A detector without a network: the score of a pixel is its brightness. For tests of geometry and bookkeeping."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medzsad.clip.spec import TowerSpec
from medzsad.config import RunConfig
from medzsad.errors import WeightsError
from medzsad.methods.base import Prediction
from medzsad.methods.noise import NoiseSource
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD
from medzsad.weights.card import WeightsCard


class BrightnessDetector(nn.Module):
    """Scores a pixel with its brightness in [0, 1] and an image with its brightest pixel."""

    uses_class_names = True
    adapts = False

    def __init__(self, size: int = 96, threshold: float | None = 0.8) -> None:
        super().__init__()
        self.spec = TowerSpec(image_size=size, layers=(1,))
        self.card = WeightsCard(
            name="brightness",
            method="brightness",
            spec=self.spec,
            sha256="0" * 64,
            clip_name="none",
            clip_sha256="0" * 64,
            threshold=threshold,
            threshold_provenance="fixed in the test",
            license="MIT",
            source="tests",
            class_name="tissue",
            samples=1,
            description="brightness",
        )
        self.scale = nn.Parameter(torch.ones(()))
        self.seen = 0

    @property
    def device(self) -> torch.device:
        return self.scale.device

    def word(self, wanted: str | None = None) -> str:
        return wanted or self.card.class_name

    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        assert len(class_names) == len(images)
        self.seen += len(images)
        bright = (images[:, 0] * CLIP_STD[0] + CLIP_MEAN[0]).clamp(0, 1) * self.scale
        return Prediction(score_map=bright, image_score=bright.amax(dim=(1, 2)), spread=bright * 0.1)


class MortalDetector(BrightnessDetector):
    """Ends its process at the first slice that is nearly all white."""

    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        prediction = super().predict(images, class_names, noise)
        if bool((prediction.score_map.mean(dim=(1, 2)) > 0.9).any()):
            os._exit(7)
        return prediction


def load_brightness(config: RunConfig) -> BrightnessDetector:
    """For worker processes, which import it by its name."""
    return BrightnessDetector(size=32)


def load_mortal(config: RunConfig) -> MortalDetector:
    """For worker processes, which import it by its name."""
    return MortalDetector(size=32)


def load_nothing(config: RunConfig) -> BrightnessDetector:
    """What happens in a worker whose weights are missing."""
    raise WeightsError("There are no weights of that name.")
