"""The smallest method there can be, registered by tests: one direction in the space of the patch tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, max_pool2d

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws, Method, Options, Prediction, PromptModel, Translation
from medzsad.methods.objective import Stage, Truth
from tests import tiny


class ToyOptions(Options):
    sharpness: float = Field(default=1.0, gt=0)


class ToyTrainOptions(Options):
    rate: float = Field(default=0.05, gt=0)


class Toy(PromptModel):
    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.sizes = {"width": width}
        self.direction, self.bias = nn.Parameter(0.1 * torch.randn(width)), nn.Parameter(torch.zeros(()))

    @classmethod
    def sizes_for(cls, tower: Tower, options: ToyTrainOptions) -> dict[str, int]:
        return {"width": tower.patch_width}

    @property
    def tower_widths(self) -> tuple[None, None, int]:
        return None, None, self.sizes["width"]

    def logits(self, features: ImageFeatures) -> Tensor:
        patches = torch.stack(features.patches).mean(dim=0)
        return (patches @ self.direction + self.bias).reshape(-1, 1, *features.grid)

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: ToyOptions,
    ) -> Prediction:
        scores = (options.sharpness * self.logits(features)).sigmoid()
        return Prediction(interpolate(scores, size=size)[:, 0], scores.amax(dim=(1, 2, 3)), None)


class ToyObjective:
    def __init__(self, options: ToyTrainOptions) -> None:
        self.stages = (Stage("direction", ("pixels",), self._groups, "pixel_ap", "constant"),)
        self.options = options

    def _groups(self, model: Toy) -> list[dict[str, Any]]:
        rate = self.options.rate
        return [{"name": "all", "params": list(model.parameters()), "lr": rate, "base_lr": rate}]

    def losses(
        self,
        model: Toy,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        patches = max_pool2d(truth.masks.float()[:, None], truth.masks.shape[-1] // features.grid[1])
        known = truth.has_mask
        return {"pixels": binary_cross_entropy_with_logits(model.logits(features)[known], patches[known])}

    def used_with(self, stage: Stage) -> ToyOptions:
        return ToyOptions()


class ToyImporter:
    def recognizes(self, content: object) -> bool:
        return isinstance(content, Mapping) and "toy" in content

    def translate(self, content: Any, path: Path) -> Translation:
        state = content["toy"]
        return Translation({"width": len(state["direction"])}, state, {"sharpness": 2.0}, (), ())


METHOD = Method(
    name="toy",
    title="Toy",
    source="tests",
    model=Toy,
    spec=tiny.SPEC,
    clip_name="tiny",
    options=ToyOptions,
    train_options=ToyTrainOptions,
    objective=ToyObjective,
    importer=ToyImporter(),
)
NOT_A_METHOD = "no method"
