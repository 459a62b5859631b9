"""Prompts learned from sound images and noise, after "human-free" prompting (arXiv 2406.18197; METHODS I).

There is no program of its authors and no formula in public: this is a reconstruction, and no figure of theirs belongs
to it. Its parts lie where they can be used with any method: defects of noise on the object (`object_noise` of a
training), patches that see their neighbors only (`window`), gradients guided by a prompt in plain words (here).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from medzsad.clip.text import token_ids
from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws, Method, Options, Prediction
from medzsad.methods.object_prompts import ObjectPromptObjective, ObjectPromptOptions, ObjectPrompts
from medzsad.methods.objective import Stage
from medzsad.methods.phrases import phrase_features
from medzsad.methods.prompts import TOWER, cosine_logits, image_logits

_WINDOW, _WINDOW_BLOCKS = 5, 4


class HumanFreeStyleOptions(Options):
    """How the weights are used.

    Attributes:
        image_from_map: Average the image score with the highest score of the map.
    """

    image_from_map: bool = False


class HumanFreeStyleTrainOptions(ObjectPromptOptions):
    """How the prompts are trained.

    Attributes:
        guidance: How strongly a prompt in plain words, the meta-prompt, guides the gradients; 0 for not at all. The
            paper names 1.
        normal_phrase: The meta-prompt for sound objects.
        abnormal_phrase: That for objects with a defect.
        start_words: What the last learned tokens of both prompts are before training.
        refresh_steps: The meta-prompt moves towards the learned ones every so many steps; 0 for never.
        refresh_rate: How far.
        image_from_map: See `HumanFreeStyleOptions`.
    """

    guidance: float = Field(default=1.0, ge=0)
    normal_phrase: str = "a photo of a normal object"
    abnormal_phrase: str = "a photo of a damaged object"
    start_words: str = "a photo of a"
    refresh_steps: int = Field(default=10, ge=0)
    refresh_rate: float = Field(default=0.01, ge=0, le=1)
    image_from_map: bool = False


class HumanFreeStyle(ObjectPrompts):
    """The learned part; the CLIP tower stays outside.

    Args:
        text_width: Of the tower's text tokens.
        joint_width: Of the space that images and texts share.
        context_tokens: See `ObjectPromptOptions`.
        deep_prompts: See `DeepPromptOptions`.
        deep_tokens: As above.
    """

    meta: Tensor

    def __init__(
        self,
        *,
        text_width: int,
        joint_width: int,
        context_tokens: int = 12,
        deep_prompts: int = 8,
        deep_tokens: int = 4,
    ) -> None:
        super().__init__(
            text_width=text_width, context_tokens=context_tokens, deep_prompts=deep_prompts, deep_tokens=deep_tokens
        )
        del self.sizes["table_rows"]
        self.sizes["joint_width"] = joint_width
        self.register_buffer("meta", torch.zeros(2, joint_width))

    @classmethod
    def sizes_for(cls, tower: Tower, options: ObjectPromptOptions) -> dict[str, int]:
        """Sizes for a tower."""
        own = {name: getattr(options, name) for name in ("context_tokens", "deep_prompts", "deep_tokens")}
        return {"text_width": tower.text_width, "joint_width": tower.joint_width, **own}

    def start_from(self, tower: Tower, options: HumanFreeStyleTrainOptions) -> None:
        """Sets the meta-prompt, and the learned tokens to the words that they start from.

        Raises:
            ConfigError: The tower has no embedding of a word.
        """
        phrases = (options.normal_phrase, options.abnormal_phrase)
        self.meta.copy_(phrase_features(tower, phrases, "normal_phrase or abnormal_phrase"))
        phrase_features(tower, (options.start_words,), "start_words")  # refuses words that mean nothing
        words = tower.embed(token_ids(options.start_words)[1:-1].to(self.meta.device))[-len(self.normal) :]
        for learned in (self.normal, self.abnormal):
            learned[len(learned) - len(words) :] = words

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: Any,
    ) -> Prediction:
        """Scores of images, the map as it is before any smoothing."""
        found = super().forward(tower, features, class_names, draws, size, options)
        if not options.image_from_map:
            return found
        return replace(found, image_score=(found.image_score + found.score_map.amax(dim=(1, 2))) / 2)


class HumanFreeStyleObjective(ObjectPromptObjective):
    """AnomalyCLIP's losses, their gradients guided by the meta-prompt (METHODS I)."""

    def __init__(self, options: HumanFreeStyleTrainOptions) -> None:
        super().__init__(options)
        self.options: HumanFreeStyleTrainOptions = options

    @property
    def guidance(self) -> float:
        """As the options say."""
        return self.options.guidance

    def guide_loss(self, model: HumanFreeStyle, tower: Tower, features: ImageFeatures) -> Tensor:
        """How far predictions are from those of the meta-prompt: KL divergence of patches plus that of images."""
        text = normalize(model.text_embeddings(tower), dim=-1)
        layers = [
            _divergence(cosine_logits(patches, model.meta), cosine_logits(patches, text))
            for patches in features.patches
        ]
        images = _divergence(image_logits(features.cls, model.meta), image_logits(features.cls, text))
        return torch.stack(layers).mean() + images

    @torch.no_grad()
    def after_step(self, model: HumanFreeStyle, tower: Tower, step: int) -> None:
        """Moves the meta-prompt a little towards the learned prompts."""
        options = self.options
        if not options.refresh_steps or step % options.refresh_steps:
            return
        text = normalize(model.text_embeddings(tower), dim=-1)
        model.meta.copy_(normalize(model.meta.lerp(text, options.refresh_rate), dim=-1))

    def used_with(self, stage: Stage) -> HumanFreeStyleOptions:
        """As the training's options say."""
        return HumanFreeStyleOptions(image_from_map=self.options.image_from_map)


def _divergence(wanted: Tensor, logits: Tensor) -> Tensor:
    """Mean KL divergence of the distributions of logits (..., 2) from wanted ones."""
    wanted, found = wanted.log_softmax(dim=-1), logits.log_softmax(dim=-1)
    return (wanted.exp() * (wanted - found)).sum(dim=-1).mean()


METHOD = Method(
    name="human-free-style",
    title="human-free-style",
    source="After human-free prompting, arXiv 2406.18197",
    model=HumanFreeStyle,
    spec=replace(TOWER, window=_WINDOW, window_blocks=_WINDOW_BLOCKS),
    clip_name="ViT-L-14-336",
    options=HumanFreeStyleOptions,
    train_options=HumanFreeStyleTrainOptions,
    objective=HumanFreeStyleObjective,
    protocol="anomalyclip",
    fidelity="reconstruction",
    scope=(
        "Built from the paper's abstract and summaries, for want of a program and of formulas; "
        "no published figure belongs to it."
    ),
)
