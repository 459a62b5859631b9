"""What every detection method gives and takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from medzsad.clip.spec import TowerSpec
from medzsad.methods.noise import NoiseSource


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scores of a batch of images, float32.

    Attributes:
        score_map: (b, H, W) in [0, 1], probability of abnormal at the size of the input.
        image_score: (b,) in [0, 1].
        spread: (b, H, W) standard deviation of the map over the prompt samples, each averaged over layers and prompts;
            None where there is one sample only.
    """

    score_map: Tensor
    image_score: Tensor
    spread: Tensor | None


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """Where the weights of a detector come from and how they are to be used.

    Attributes:
        name: Name of the weights.
        method: Name of the method.
        stage: Training stage whose image head is used.
        sha256: Of the weights file.
        clip_name: Name of the CLIP tower.
        clip_sha256: Of the tower's file.
        threshold: Score from which a pixel counts as lesion; None where none is known.
        threshold_provenance: How the threshold was found.
        licence: Of the weights.
        source: Where they come from.
        class_name: Word for the object in the prompts, if the user gives none.
        samples: Prompt samples per image.
        description: A sentence for reports.
    """

    name: str
    method: str
    stage: int
    sha256: str
    clip_name: str
    clip_sha256: str
    threshold: float | None
    threshold_provenance: str
    licence: str
    source: str
    class_name: str
    samples: int
    description: str


class Detector(Protocol):
    """A method with its tower and weights, ready to score."""

    spec: TowerSpec
    info: WeightsInfo

    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        """Scores of (b, 3, H, W) CLIP-normalized images, one class name each; independent of what is in the batch."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights, those of the tower included."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The detector itself, moved to `device`."""
        ...
