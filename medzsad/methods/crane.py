"""Crane (arXiv 2504.11055): AnomalyCLIP's prompts, sharper local features, and a pooled image feature (METHODS D.2).

In training the image's class token takes part in the prompts, in use it does not. Index 0 is normal, 1 abnormal.
Features that a second backbone guides come before the layers that are read ("Crane+"). The tower has that backbone, or
its features are given: `tower.features(images, Guide(...))`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws, Method, Options, Prediction
from medzsad.methods.losses import map_losses
from medzsad.methods.maps import class_planes
from medzsad.methods.objective import Stage, Truth, all_parameters
from medzsad.methods.prompt_files import PromptFileImporter
from medzsad.methods.prompts import (
    ABNORMAL_WORDS,
    NORMAL_WORDS,
    TOWER,
    DeepPromptOptions,
    WordedPromptModel,
    cosine_logits,
    encode_prompts,
    fresh_tokens,
    image_logits,
    worded,
)

_MAP_WEIGHT, _IMAGE_WEIGHT, _IMAGE_TEMPERATURE = 2.0, 0.2, 0.01


class CraneOptions(Options):
    """How Crane weights are used; the defaults are those for medical images.

    Attributes:
        soft_mean: Average the probabilities of enlarged maps over layers, not their logits. The authors do so for all
            but industrial images with guided features.
        image_context: Let the image's class token take part in the prompts, as in training.
    """

    soft_mean: bool = True
    image_context: bool = False


class CraneTrainOptions(DeepPromptOptions):
    """How Crane is trained; the defaults are the authors'.

    Attributes:
        context_tokens: Learned tokens of a prompt.
        layer_copies: How often the losses of a layer's map count: the four layers of the authors' program are the same
            tensor. With guided features they read one, and 1 is theirs.
        context_probability: Chance that the class tokens of a batch take part in its prompts.
    """

    context_tokens: int = Field(default=12, ge=1)
    layer_copies: int = Field(default=4, ge=1)
    context_probability: float = Field(default=1.0, ge=0, le=1)


class Crane(WordedPromptModel):
    """The learned part of Crane; the CLIP tower stays outside.

    Args:
        width: Joint width D of the tower, equal to the width of its text tokens.
        context_tokens: See `CraneTrainOptions`.
        deep_prompts: See `DeepPromptOptions`.
        deep_tokens: As above.
        table_rows: See `WordedPromptModel`.
    """

    def __init__(
        self, *, width: int, context_tokens: int = 12, deep_prompts: int = 8, deep_tokens: int = 4, table_rows: int = 0
    ) -> None:
        super().__init__(text_width=width, deep_prompts=deep_prompts, deep_tokens=deep_tokens, table_rows=table_rows)
        self.sizes = {
            "width": width,
            "context_tokens": context_tokens,
            "deep_prompts": deep_prompts,
            "deep_tokens": deep_tokens,
            "table_rows": table_rows,
        }
        self.normal, self.abnormal = (fresh_tokens(context_tokens, width) for _ in "na")

    @classmethod
    def sizes_for(cls, tower: Tower, options: CraneTrainOptions) -> dict[str, int]:
        """Sizes for a tower."""
        sizes = {name: getattr(options, name) for name in ("context_tokens", "deep_prompts", "deep_tokens")}
        return {"width": tower.joint_width, **sizes}

    @property
    def tower_widths(self) -> tuple[int, int, int]:
        """All the same: the class token becomes a token of the prompts."""
        width = self.sizes["width"]
        return width, width, width

    def text_embeddings(self, tower: Tower, cls: Tensor | None = None) -> Tensor:
        """(b, 2, D) text features, not normalized.

        Args:
            tower: Its text side.
            cls: (b, D) class tokens that take part in the prompts; None for prompts without, b = 1.
        """
        prompts = []
        for learned, words in ((self.normal, NORMAL_WORDS), (self.abnormal, ABNORMAL_WORDS)):
            tokens = learned[None]
            if cls is not None:
                context = normalize(cls.float(), dim=-1)[:, None]
                tokens = torch.cat((tokens.expand(len(cls), -1, -1), context), dim=1)
            prompts.append(worded(tower, tokens, words))
        return torch.stack(encode_prompts(tower, prompts, self.deep).chunk(2), dim=1)

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: CraneOptions,
    ) -> Prediction:
        """Scores of images, the map as it is before any smoothing."""
        text = normalize(self.text_embeddings(tower, features.cls if options.image_context else None), dim=-1)
        with torch.autocast(text.device.type, enabled=False):  # logits of a mixed-precision product are too coarse
            layers = torch.stack([cosine_logits(patches, text) for patches in features.patches])
            if options.soft_mean:
                abnormal = layers.softmax(dim=-1)[..., 1:].mean(dim=0)
                maps = class_planes(abnormal, features.grid, size, "bilinear")[:, 0]
            else:
                maps = class_planes(layers.mean(dim=0), features.grid, size, "bilinear").softmax(dim=1)[:, 1]
            score = image_logits(pooled(features, layers), text).softmax(dim=-1)[:, 1]
        return Prediction(maps, score, None)


def pooled(features: ImageFeatures, layers: Tensor) -> Tensor:
    """(b, D) unit image features: half the class token, half the patches, weighted by how abnormal they are.

    Args:
        features: Of the images.
        layers: (l, b, N, 2) logits of their patches.
    """
    abnormal = layers.mean(dim=0).softmax(dim=-1)[..., 1:]
    patches = torch.stack([normalize(patches.float(), dim=-1) for patches in features.patches]).mean(dim=0)
    summary = normalize((abnormal * patches).sum(dim=1), dim=-1)
    return normalize(0.5 * summary + 0.5 * normalize(features.cls.float(), dim=-1), dim=-1)


class CraneObjective:
    """One stage learns everything (METHODS D.2)."""

    stages = (Stage("prompts", ("focal", "dice", "image"), all_parameters, "pixel_ap", "constant", betas=(0.6, 0.999)),)

    def __init__(self, options: CraneTrainOptions) -> None:
        self.options = options

    def losses(
        self,
        model: Crane,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The parts of one step; those of the maps are summed over layers and their copies."""
        in_context = float(torch.rand((), generator=source)) <= self.options.context_probability
        text = normalize(model.text_embeddings(tower, features.cls if in_context else None), dim=-1)
        layers = torch.stack([cosine_logits(patches, text) for patches in features.patches])
        known = truth.has_mask
        parts = [map_losses(one[known], features.grid, truth.masks[known].float(), "nearest") for one in layers]
        weight = _MAP_WEIGHT * self.options.layer_copies
        logits = image_logits(pooled(features, layers), text, _IMAGE_TEMPERATURE)
        return {
            "focal": weight * torch.stack([focal for focal, _, _ in parts]).sum(),
            "dice": weight * torch.stack([dice for _, dice, _ in parts]).sum(),
            "image": _IMAGE_WEIGHT * cross_entropy(logits, truth.labels),
        }

    def used_with(self, stage: Stage) -> CraneOptions:
        """The authors' options for medical images."""
        return CraneOptions()


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    tokens, width = state["normal"].shape
    return {"width": width, "context_tokens": tokens}


# The authors' programs ask for layers 6, 12, 18 and 24 but get layer 24 four times, since their blocks add to the local
# stream in place. Their files called "cranep" were learned with features guided by DINOv2, which no file tells.
METHOD = Method(
    name="crane",
    title="Crane",
    source="Context-guided prompt learning and attention refinement, arXiv 2504.11055",
    model=Crane,
    spec=replace(TOWER, attention="qqkkvv", cls_post_norm=True),
    clip_name="ViT-L-14-336",
    options=CraneOptions,
    train_options=CraneTrainOptions,
    objective=CraneObjective,
    importer=PromptFileImporter(
        title="Crane", sizes=_sizes, foreign=("compound_prompt_projections.", "patch_meta_net.", "t_n")
    ),
    guidable=True,
    protocol="anomalyclip",
    code_license="MIT",
    fidelity="exact",
    scope=(
        "Inference and training, with the authors' weights files; inference of Crane+, exact for given features of its "
        "second backbone. That backbone, DINOv2, is timm's. Training of Crane+ is left out."
    ),
)
