"""One learned prompt for normal and one for abnormal objects of any kind, as AnomalyCLIP has them (METHODS D.1).

Neither the image nor a class name takes part in the prompts. Index 0 is normal, 1 abnormal.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws, Options, Prediction
from medzsad.methods.losses import map_losses
from medzsad.methods.maps import class_planes
from medzsad.methods.objective import Stage, Truth, all_parameters
from medzsad.methods.prompts import (
    ABNORMAL_WORDS,
    NORMAL_WORDS,
    DeepPromptOptions,
    WordedPromptModel,
    cosine_logits,
    encode_prompts,
    fresh_tokens,
    image_logits,
    worded,
)

# The authors' first version had no such weight but counted its one layer four times.
MAP_WEIGHT = 4.0


class ObjectPromptOptions(DeepPromptOptions):
    """How such prompts are trained; the defaults are those of AnomalyCLIP's authors.

    Attributes:
        context_tokens: Learned tokens of a prompt.
    """

    context_tokens: int = Field(default=12, ge=1)


class ObjectPrompts(WordedPromptModel):
    """The learned part; the CLIP tower stays outside.

    Args:
        text_width: Of the tower's text tokens.
        context_tokens: See `ObjectPromptOptions`.
        deep_prompts: See `DeepPromptOptions`.
        deep_tokens: As above.
        table_rows: See `WordedPromptModel`.
    """

    def __init__(
        self,
        *,
        text_width: int,
        context_tokens: int = 12,
        deep_prompts: int = 8,
        deep_tokens: int = 4,
        table_rows: int = 0,
    ) -> None:
        super().__init__(
            text_width=text_width, deep_prompts=deep_prompts, deep_tokens=deep_tokens, table_rows=table_rows
        )
        self.sizes = {
            "text_width": text_width,
            "context_tokens": context_tokens,
            "deep_prompts": deep_prompts,
            "deep_tokens": deep_tokens,
            "table_rows": table_rows,
        }
        self.normal, self.abnormal = (fresh_tokens(context_tokens, text_width) for _ in "na")

    @classmethod
    def sizes_for(cls, tower: Tower, options: ObjectPromptOptions) -> dict[str, int]:
        """Sizes for a tower."""
        return {"text_width": tower.text_width, **options.model_dump()}

    @property
    def tower_widths(self) -> tuple[None, int, None]:
        """Of the text tokens; all else is compared in the joint space, whatever its width."""
        return None, self.sizes["text_width"], None

    def text_embeddings(self, tower: Tower) -> Tensor:
        """(2, D) text features, not normalized."""
        normal = worded(tower, self.normal[None], NORMAL_WORDS)
        abnormal = worded(tower, self.abnormal[None], ABNORMAL_WORDS)
        return encode_prompts(tower, (normal, abnormal), self.deep)

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: Options,
    ) -> Prediction:
        """Scores of images, the map as it is before any smoothing.

        Of several layers the map is the mean, where the authors take the sum.
        """
        return compared(features, normalize(self.text_embeddings(tower), dim=-1), size)


def compared(features: ImageFeatures, text: Tensor, size: tuple[int, int]) -> Prediction:
    """Scores of images whose patches and class tokens are compared with texts; the map is the mean over layers.

    Args:
        features: Of (b) images.
        text: Unit text features, (2, D) or one pair per image (b, 2, D).
        size: (H, W) of the map.
    """
    with torch.autocast(text.device.type, enabled=False):  # logits of a mixed-precision product are too coarse
        layers = torch.stack([cosine_logits(patches, text) for patches in features.patches])
        abnormal = layers.softmax(dim=-1)[..., 1:].mean(dim=0)
        maps = class_planes(abnormal, features.grid, size, "bilinear")[:, 0]
        score = image_logits(features.cls, text).softmax(dim=-1)[:, 1]
    return Prediction(maps, score, None)


def shared_stage(*more: str) -> Stage:
    """The one stage of a training with `shared_losses` and the parts named."""
    return Stage(
        "prompts", ("image", "focal", "dice_abnormal", "dice_normal", *more), all_parameters, "pixel_ap", "constant"
    )


def shared_losses(features: ImageFeatures, text: Tensor, truth: Truth) -> dict[str, Tensor]:
    """AnomalyCLIP's losses; those of the map are summed over layers.

    Args:
        features: Of (b) images.
        text: Unit text features, (2, D) or one pair per image (b, 2, D).
        truth: Of the images.
    """
    known = truth.has_mask
    own = text if text.ndim == 2 else text[known]
    layers = [
        map_losses(cosine_logits(patches[known], own), features.grid, truth.masks[known].float(), "bilinear")
        for patches in features.patches
    ]
    focal, abnormal, normal = (MAP_WEIGHT * torch.stack(part).sum() for part in zip(*layers, strict=True))
    return {
        "image": cross_entropy(image_logits(features.cls, text), truth.labels),
        "focal": focal,
        "dice_abnormal": abnormal,
        "dice_normal": normal,
    }


class ObjectPromptObjective:
    """One stage learns everything (METHODS D.1)."""

    stages = (shared_stage(),)

    def __init__(self, options: ObjectPromptOptions) -> None:
        self.options = options

    def losses(
        self,
        model: ObjectPrompts,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The parts of one step."""
        return shared_losses(features, normalize(model.text_embeddings(tower), dim=-1), truth)

    def used_with(self, stage: Stage) -> Options:
        """There is nothing to choose."""
        return Options()
