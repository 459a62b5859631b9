"""What a training of a method minimizes, stage by stage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about the images of a batch.

    Attributes:
        labels: (b,) int64, 1 with a defect.
        masks: (b, H, W) float, 1 in a defect; anything where `has_mask` is false.
        has_mask: (b,) bool, whether an image has a pixel label.
    """

    labels: Tensor
    masks: Tensor
    has_mask: Tensor


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: For histories and plots.
        parts: Names of the losses, in order.
        groups: Groups of a model's parameters for an optimizer, with "name", "params", "lr" and "base_lr", the rate at
            the top of the schedule.
        criterion: Validation metric that chooses the epoch and ends the stage.
        schedule: How the rates change: `warm_up_cosine` over the steps of the whole training, or `constant`.
        betas: Of Adam.
        summed: Those of `parts` that are sums over the images of a batch, not means: where a batch is cut into parts,
            theirs are added without a weight.
    """

    name: str
    parts: tuple[str, ...]
    groups: Callable[[Any], list[dict[str, Any]]]
    criterion: Literal["pixel_ap", "image_ap"]
    schedule: Literal["warm_up_cosine", "constant"]
    betas: tuple[float, float] = (0.5, 0.999)
    summed: tuple[str, ...] = ()


def all_parameters(model: nn.Module) -> list[dict[str, Any]]:
    """One group of all parameters of a model, for a stage that learns everything at a rate of 0.001."""
    return [{"name": "prompts", "params": list(model.parameters()), "lr": 1e-3, "base_lr": 1e-3}]


class Objective(Protocol):
    """What a training of one method minimizes, stage by stage."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In their order."""
        ...

    def losses(
        self,
        model: Any,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Mapping[str, Tensor],
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The weighted parts of the loss by the names in `stage.parts`; their sum is to be minimized.

        Args:
            model: In training.
            tower: Frozen.
            features: Of a batch.
            class_names: One per image.
            truth: Labels and masks.
            draws: For one prompt sample: `draw_shapes(1)`, by image where they are not shared.
            stage: One of `stages`.
            source: For further choices of this step; the same for all parts of a batch.
        """
        ...

    def used_with(self, stage: Stage) -> BaseModel:
        """The options with which a model is used that has been trained up to and including `stage`."""
        ...


@runtime_checkable
class GuidedObjective(Objective, Protocol):
    """An objective whose gradients a second loss guides, see `medzsad.training.guidance`."""

    @property
    def guidance(self) -> float:
        """How strongly; 0 for not at all."""
        ...

    def guide_loss(self, model: Any, tower: Tower, features: ImageFeatures) -> Tensor:
        """What the guide asks for, a mean over the images of a batch."""
        ...

    def after_step(self, model: Any, tower: Tower, step: int) -> None:
        """Moves the guide on after a step, counted from 1 over the whole training."""
        ...
