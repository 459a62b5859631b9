"""Bayes-PFL (arXiv 2503.10080): prompts as random variables, half of them conditioned on the image.

Index 0 is normal, index 1 abnormal. S = samples x bank prompts per polarity, sample by sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from medzsad.clip.text import token_ids
from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError
from medzsad.methods.base import Draws, Options, Prediction, PromptModel
from medzsad.methods.bayes_pfl.flow import FlowSample, GaussianEncoder, ImageFlow, StateFlow
from medzsad.methods.bayes_pfl.heads import PatchRefinement, PatchSummary
from medzsad.methods.maps import score_maps

_NAMES = {
    "macaroni1": "macaroni",
    "macaroni2": "macaroni",
    "pcb1": "printed circuit board",
    "pcb2": "printed circuit board",
    "pcb3": "printed circuit board",
    "pcb4": "printed circuit board",
    "pipe_fryum": "pipe fryum",
    "chewinggum": "chewing gum",
    "metal_nut": "metal nut",
}


def spoken_name(class_name: str) -> str:
    """The words that stand for a class in a prompt: the authors' table for industrial names, else the name itself."""
    return _NAMES.get(class_name, class_name).lower()


@dataclass(frozen=True, slots=True)
class PromptSample:
    """Sampled prompts of a batch.

    Attributes:
        tokens: (b, S, 2, P + Q, D) learned token embeddings, context then state.
        context: Samples (b, R, D) of the distribution that depends on the image.
        normal: Samples (R, D) of the normal state.
        abnormal: Samples (R, D) of the abnormal state.
    """

    tokens: Tensor
    context: FlowSample
    normal: FlowSample
    abnormal: FlowSample


class BayesPFLOptions(Options):
    """How Bayes-PFL weights are used.

    Attributes:
        stage: Training stage whose image head is used: 1 reads the class token, 2 the patches as well.
    """

    stage: Literal[1, 2] = 2


class BayesPFLTrainOptions(Options):
    """How Bayes-PFL is trained.

    Attributes:
        bank: Prompts per polarity.
        context_tokens: Learned context tokens of a prompt.
        state_tokens: Learned state tokens of a prompt.
        flows: Planar flow steps.
        legacy_kl: Count the log-determinants of the two state distributions once per batch, as the authors' program
            does, in place of once per image, as the formula asks (METHODS A.4).
        kl_weight: Weight of each of the three divergences.
        focal_gamma: How strongly the focal loss discounts sure pixels.
    """

    bank: int = Field(default=3, ge=1)
    context_tokens: int = Field(default=5, ge=1)
    state_tokens: int = Field(default=5, ge=1)
    flows: int = Field(default=10, ge=1)
    legacy_kl: bool = False
    kl_weight: float = Field(default=0.01, ge=0)
    focal_gamma: float = Field(default=2.0, ge=0)


class BayesPFL(PromptModel):
    """The learned part of Bayes-PFL; the CLIP tower stays outside.

    Args:
        width: Joint width D of the tower, equal to the width of its text tokens.
        vision_width: Width C of its patch tokens.
        hidden: Width inside the encoders and the patch summary; the authors take vision_width / 2.
        layer_count: Number of vision layers that are read.
        bank: Prompts B in the bank.
        context_tokens: Learned tokens P of a prompt's context.
        state_tokens: Learned tokens Q of its state.
        flows: Planar flow steps K.
    """

    uses_class_names = True
    shared_draws = frozenset({"normal", "abnormal"})

    def __init__(
        self,
        *,
        width: int,
        vision_width: int,
        hidden: int,
        layer_count: int = 4,
        bank: int = 3,
        context_tokens: int = 5,
        state_tokens: int = 5,
        flows: int = 10,
    ) -> None:
        super().__init__()
        self.sizes = {
            "width": width,
            "vision_width": vision_width,
            "hidden": hidden,
            "layer_count": layer_count,
            "bank": bank,
            "context_tokens": context_tokens,
            "state_tokens": state_tokens,
            "flows": flows,
        }
        self.context_flow = ImageFlow(width=width, hidden=hidden, flows=flows)
        self.state_encoder = GaussianEncoder(width=width, hidden=hidden)
        self.normal_flow = StateFlow(width=width, flows=flows)
        self.abnormal_flow = StateFlow(width=width, flows=flows)
        self.refinement = PatchRefinement(width=width, vision_width=vision_width, layer_count=layer_count)
        self.summary = PatchSummary(width=width, hidden=hidden, vision_width=vision_width, layer_count=layer_count)
        self.text_head = nn.Linear(width, width)
        self.image_head = nn.Linear(width, width)
        self.log_scale_pixel = nn.Parameter(torch.tensor(log(1 / 0.07)))
        self.log_scale_image = nn.Parameter(torch.tensor(log(1 / 0.07)))
        self.prompt_context = nn.Parameter(0.02 * torch.randn(bank, context_tokens, width))
        self.prompt_normal = nn.Parameter(0.5 + 0.02 * torch.randn(bank, state_tokens, width))
        self.prompt_abnormal = nn.Parameter(-0.5 + 0.02 * torch.randn(bank, state_tokens, width))
        self.apply(_initialize)

    @classmethod
    def sizes_for(cls, tower: Tower, options: BayesPFLTrainOptions) -> dict[str, int]:
        """Sizes as the authors choose them: the encoders are half as wide as the patch tokens."""
        return {
            "width": tower.joint_width,
            "vision_width": tower.patch_width,
            "hidden": tower.patch_width // 2,
            "layer_count": len(tower.spec.layers),
            "bank": options.bank,
            "context_tokens": options.context_tokens,
            "state_tokens": options.state_tokens,
            "flows": options.flows,
        }

    @property
    def tower_widths(self) -> tuple[int, int, int]:
        """Joint and text width are the same: a sampled shift is added to token embeddings."""
        return self.sizes["width"], self.sizes["width"], self.sizes["vision_width"]

    @property
    def layer_count(self) -> int:
        """One linear map per layer."""
        return self.sizes["layer_count"]

    def words_for(self, class_name: str) -> str:
        """As `spoken_name`."""
        return spoken_name(class_name)

    def draw_shapes(self, samples: int) -> dict[str, tuple[int, ...]]:
        """(R, D) for the distribution that depends on the image, and for both states."""
        return dict.fromkeys(("context", "normal", "abnormal"), (samples, self.sizes["width"]))

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: BayesPFLOptions,
    ) -> Prediction:
        """Scores of images (METHODS A.6); the spread is that over prompt samples."""
        text = self.text_embeddings(tower, features, class_names, draws)
        samples = len(draws["normal"])
        score_map, spread = score_maps(self.pixel_logits(features, text), features.grid, size, samples)
        image_logits = self.image_logits(features, text, options.stage)
        return Prediction(score_map, image_logits.softmax(dim=-1)[..., 1].mean(dim=1), spread)

    def trace(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        options: BayesPFLOptions,
    ) -> dict[str, Tensor]:
        """`text_embeddings` (b, 2, S, D): normal, then abnormal."""
        return {"text_embeddings": self.text_embeddings(tower, features, class_names, draws).transpose(1, 2)}

    def sample_prompts(self, features: ImageFeatures, draws: Draws) -> PromptSample:
        """Sampled prompts for a batch of images.

        Args:
            features: The class tokens (b, D), not normalized, condition the context.
            draws: Standard normal "context" (b, R, D), "normal" (R, D) and "abnormal" (R, D).
        """
        context = self.context_flow(features.cls, draws["context"])
        normal = self.normal_flow(self.state_encoder, draws["normal"])
        abnormal = self.abnormal_flow(self.state_encoder, draws["abnormal"])
        images = len(context.end)
        words = self.prompt_context + context.end[:, :, None, None]  # (b, R, B, P, D)
        states = torch.stack(
            (
                self.prompt_normal + normal.end[:, None, None],
                self.prompt_abnormal + abnormal.end[:, None, None],
            ),
            dim=2,
        )  # (R, B, 2, Q, D)
        words = words.unsqueeze(3).expand(-1, -1, -1, 2, -1, -1)
        tokens = torch.cat((words, states.expand(images, -1, -1, -1, -1, -1)), dim=-2)
        return PromptSample(tokens.flatten(1, 2), context, normal, abnormal)

    def encode_prompts(self, tower: Tower, sample: PromptSample, class_names: Sequence[str]) -> Tensor:
        """Unit text features (b, S, 2, D) of sampled prompts, all in one pass through the text tower.

        Args:
            tower: Frozen tower.
            sample: From `sample_prompts`.
            class_names: One per image.

        Raises:
            ConfigError: A class name is too long for the text tower.
        """
        images, pairs, _, learned, width = sample.tokens.shape
        names = [token_ids(spoken_name(name)) for name in class_names]  # start, words, end
        longest, room = max(len(ids) for ids in names), tower.clip.context_length
        if longest + learned > room:
            raise ConfigError(
                f"A class name of {longest - 2} tokens does not fit: the text tower takes {room}, "
                f"{learned + 2} of which are the prompt's own. Use a shorter name."
            )
        ids = torch.zeros(images, longest, dtype=torch.int64)  # what stands behind the end token has no effect
        for row, name in zip(ids, names, strict=True):
            row[: len(name)] = name
        words = tower.embed(ids.to(sample.tokens.device))[:, None, None].expand(-1, pairs, 2, -1, -1)
        embeds = torch.cat((words[..., :1, :], sample.tokens, words[..., 1:, :]), dim=-2)
        eot = torch.tensor([len(name) - 1 + learned for name in names], device=embeds.device)
        encoded = tower.encode(embeds.reshape(-1, longest + learned, width), eot.repeat_interleave(2 * pairs))
        return normalize(encoded, dim=-1).reshape(images, pairs, 2, -1)

    def text_embeddings(
        self, tower: Tower, features: ImageFeatures, class_names: Sequence[str], draws: Draws
    ) -> Tensor:
        """Unit text features (b, S, 2, D): `sample_prompts`, then `encode_prompts`."""
        return self.encode_prompts(tower, self.sample_prompts(features, draws), class_names)

    def pixel_logits(self, features: ImageFeatures, text: Tensor) -> list[Tensor]:
        """Logits (b, S, 2, N) of each patch, one tensor per layer, for unit text features (b, S, 2, D)."""
        pairs = text.shape[1]
        refined_layers = self.refinement(features.patches, text.flatten(1, 2))
        scale = self.log_scale_pixel.exp()
        with torch.autocast(text.device.type, enabled=False):  # logits of a mixed-precision product are too coarse
            return [
                (scale * refined @ patches.transpose(1, 2)).unflatten(1, (pairs, 2))
                for patches, refined in refined_layers
            ]

    def image_logits(self, features: ImageFeatures, text: Tensor, stage: int) -> Tensor:
        """Logits (b, S, 2) of each image; stage 1 reads the class token, stage 2 the patches as well."""
        image = features.cls
        if stage == 2:
            image = self.image_head(image + self.summary(features.patches))
        image = normalize(image.float(), dim=-1)
        words = normalize(self.text_head(text).float(), dim=-1)
        return self.log_scale_image.exp() * (words * image[:, None, None]).sum(dim=-1)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
