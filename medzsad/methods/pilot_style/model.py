"""A pool of prompts tied to phrases about states, after PILOT (arXiv 2508.00777; METHODS H).

There is no program of its authors and no formula in public: this is a reconstruction, and no figure of theirs belongs
to it. Index 0 is normal, 1 abnormal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import normalize

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws, Prediction
from medzsad.methods.object_prompts import compared, shared_losses, shared_stage
from medzsad.methods.objective import Stage, Truth
from medzsad.methods.phrases import phrase_features
from medzsad.methods.pilot_style.adaptation import Adaptation, AdaptationOptions
from medzsad.methods.pilot_style.fusion import anchors, balance, fused, pool_weights
from medzsad.methods.prompts import (
    ABNORMAL_WORDS,
    NORMAL_WORDS,
    DeepPromptOptions,
    WordedPromptModel,
    encode_prompts,
    fresh_tokens,
    worded,
)

_NORMAL = ("normal tissue", "healthy tissue", "intact object", "unremarkable tissue", "flawless object")
_ABNORMAL = ("abnormal tissue", "damaged object", "tissue with lesion", "tumor", "hemorrhage", "swelling")


class PilotStyleOptions(AdaptationOptions):
    """How the weights are used.

    Attributes:
        share: Bound on what the learned prompts add to the phrases; 0 takes the phrases alone.
        project: Whether only that part of the learned prompts counts which the phrases do not say.
        residual_query: Whether prompts are chosen by that part of the image which the normal phrases do not say.
    """

    share: float = Field(default=0.3, ge=0)
    project: bool = True
    residual_query: bool = True


class PilotStyleTrainOptions(DeepPromptOptions):
    """How the prompts are trained.

    Attributes:
        context_tokens: Learned tokens of a prompt.
        prompts: Prompts in the pool; 1 for no choice among them.
        normal_phrases: The bank of phrases about sound objects; none, here and below, for prompts without phrases.
        abnormal_phrases: That about objects with a defect.
        share: See `PilotStyleOptions`.
        project: As above.
        residual_query: As above.
        balance: Weight of the term that keeps all prompts in use.
    """

    context_tokens: int = Field(default=12, ge=1)
    prompts: int = Field(default=4, ge=1)
    normal_phrases: tuple[str, ...] = _NORMAL
    abnormal_phrases: tuple[str, ...] = _ABNORMAL
    share: float = Field(default=0.3, ge=0)
    project: bool = True
    residual_query: bool = True
    balance: float = Field(default=0.1, ge=0)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.normal_phrases) != bool(self.abnormal_phrases):
            raise ValueError("give phrases of both kinds, or none of either")
        return self


@dataclass(frozen=True, slots=True)
class ImageTexts:
    """What images are compared with.

    Attributes:
        fused: (b, 2, D) unit text features.
        anchor: (b, 2, D) unit, those of the phrases alone.
        weights: (b, K) of the prompts in the pool.
    """

    fused: Tensor
    anchor: Tensor
    weights: Tensor


class PilotStyle(WordedPromptModel):
    """The learned part; the CLIP tower stays outside.

    Args:
        width: Joint width D of the tower.
        text_width: Of its text tokens.
        prompts: See `PilotStyleTrainOptions`.
        normal_phrases: How many there are.
        abnormal_phrases: How many there are.
        context_tokens: See `PilotStyleTrainOptions`.
        deep_prompts: See `DeepPromptOptions`.
        deep_tokens: As above.
    """

    bank_normal: Tensor
    bank_abnormal: Tensor

    def __init__(
        self,
        *,
        width: int,
        text_width: int,
        prompts: int,
        normal_phrases: int,
        abnormal_phrases: int,
        context_tokens: int = 12,
        deep_prompts: int = 8,
        deep_tokens: int = 4,
    ) -> None:
        super().__init__(text_width=text_width, deep_prompts=deep_prompts, deep_tokens=deep_tokens, table_rows=0)
        self.sizes = {
            "width": width,
            "text_width": text_width,
            "prompts": prompts,
            "normal_phrases": normal_phrases,
            "abnormal_phrases": abnormal_phrases,
            "context_tokens": context_tokens,
            "deep_prompts": deep_prompts,
            "deep_tokens": deep_tokens,
        }
        self.normal, self.abnormal = (fresh_tokens(prompts, context_tokens, text_width) for _ in "na")
        self.keys = nn.Parameter(torch.randn(prompts, width))
        self.register_buffer("bank_normal", torch.zeros(normal_phrases, width))
        self.register_buffer("bank_abnormal", torch.zeros(abnormal_phrases, width))
        self._adaptation: Adaptation | None = None

    @classmethod
    def sizes_for(cls, tower: Tower, options: PilotStyleTrainOptions) -> dict[str, int]:
        """Sizes for a tower."""
        own = ("prompts", "context_tokens", "deep_prompts", "deep_tokens")
        return {
            "width": tower.joint_width,
            "text_width": tower.text_width,
            "normal_phrases": len(options.normal_phrases),
            "abnormal_phrases": len(options.abnormal_phrases),
            **{name: getattr(options, name) for name in own},
        }

    @property
    def tower_widths(self) -> tuple[int, int, None]:
        """Of the joint space and of the text tokens."""
        return self.sizes["width"], self.sizes["text_width"], None

    def start_from(self, tower: Tower, options: PilotStyleTrainOptions) -> None:
        """Sets the bank of phrases.

        Raises:
            ConfigError: The tower has no embedding of a word.
        """
        for name, bank in (("normal_phrases", self.bank_normal), ("abnormal_phrases", self.bank_abnormal)):
            if len(bank):
                bank.copy_(phrase_features(tower, getattr(options, name), name))

    def pool_features(self, tower: Tower) -> Tensor:
        """(K, 2, D) unit text features of the prompts in the pool."""
        prompts = [worded(tower, self.normal, NORMAL_WORDS), worded(tower, self.abnormal, ABNORMAL_WORDS)]
        found = encode_prompts(tower, prompts, self.deep)
        return normalize(torch.stack(found.chunk(2), dim=1), dim=-1)

    def texts(self, tower: Tower, cls: Tensor, options: PilotStyleOptions) -> "ImageTexts":
        """The text features that images of class tokens (b, D) are compared with."""
        g, pool = cls.float(), self.pool_features(tower)
        if not len(self.bank_normal):
            weights = pool_weights(g, self.keys, None)
            learned = normalize(torch.einsum("bk,kpd->bpd", weights, pool), dim=-1)
            return ImageTexts(learned, learned, weights)
        anchor = torch.stack((anchors(g, self.bank_normal), anchors(g, self.bank_abnormal)), dim=1)
        weights = pool_weights(g, self.keys, anchor[:, 0] if options.residual_query else None)
        learned = torch.einsum("bk,kpd->bpd", weights, pool)
        return ImageTexts(fused(learned, anchor, options.share, options.project), anchor, weights)

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: PilotStyleOptions,
    ) -> Prediction:
        """Scores of images, the map as it is before any smoothing.

        Where `options.adapt` is set, each image is scored with the prompts that the images before it since `reset` have
        left, and then changes them: scores depend on the order of images.
        """
        if not options.adapt:
            return compared(features, self.texts(tower, features.cls, options).fused, size)
        if self._adaptation is None:
            self._adaptation = Adaptation([self.normal, self.abnormal, self.keys], options)
        found = []
        for number in range(len(features.cls)):
            one = ImageFeatures(
                features.cls[number : number + 1],
                tuple(layer[number : number + 1] for layer in features.patches),
                features.grid,
            )
            found.append(compared(one, self.texts(tower, one.cls, options).fused, size))
            self._adaptation.step(one, lambda image: self.texts(tower, image.cls, options))
        maps, scores = torch.cat([one.score_map for one in found]), torch.cat([one.image_score for one in found])
        return Prediction(maps, scores, None)

    def reset(self) -> int:
        """The number of images that the prompts have adapted to, which are forgotten."""
        steps = 0
        if self._adaptation is not None:
            steps = self._adaptation.undo()
            self._adaptation = None
        return steps


class PilotStyleObjective:
    """AnomalyCLIP's losses with the texts of each image, and a balanced use of the pool (METHODS H)."""

    stages = (shared_stage("balance"),)

    def __init__(self, options: PilotStyleTrainOptions) -> None:
        self.options = options

    def losses(
        self,
        model: PilotStyle,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The parts of one step; those of the map are summed over layers."""
        texts = model.texts(tower, features.cls, self.used_with(stage))
        losses = shared_losses(features, texts.fused, truth)
        return {**losses, "balance": self.options.balance * balance(texts.weights)}

    def used_with(self, stage: Stage) -> PilotStyleOptions:
        """As the training's options say."""
        options = self.options
        return PilotStyleOptions(share=options.share, project=options.project, residual_query=options.residual_query)
