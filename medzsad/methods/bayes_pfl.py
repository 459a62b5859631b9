"""Bayes-PFL (arXiv 2503.10080): prompts as random variables, half of them conditioned on the image.

Index 0 is normal, index 1 abnormal. S = samples x bank prompts per polarity, sample by sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from medzsad.clip.text import encode_embeddings, token_ids
from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError
from medzsad.methods.bayes_pfl_heads import PatchRefinement, PatchSummary
from medzsad.methods.flow import FlowSample, GaussianEncoder, ImageFlow, StateFlow
from medzsad.methods.noise import Noise

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


class BayesPFL(nn.Module):
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

    def prompt_distribution(self, cls: Tensor, noise: Noise) -> tuple[FlowSample, FlowSample, FlowSample]:
        """Shifts of context (b, R, D), normal state (R, D) and abnormal state (R, D).

        Args:
            cls: (b, D) projected class tokens, not normalized.
            noise: Standard normal draws of the same sizes.
        """
        return (
            self.context_flow(cls, noise.context),
            self.normal_flow(self.state_encoder, noise.normal),
            self.abnormal_flow(self.state_encoder, noise.abnormal),
        )

    def sample_prompts(self, features: ImageFeatures, noise: Noise) -> PromptSample:
        """Sampled prompts for a batch of images."""
        context, normal, abnormal = self.prompt_distribution(features.cls, noise.to(features.cls))
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

    def encode_prompts(self, clip: open_clip.CLIP, sample: PromptSample, class_names: Sequence[str]) -> Tensor:
        """Unit text features (b, S, 2, D) of sampled prompts, all in one pass through the text tower.

        Args:
            clip: Frozen tower.
            sample: From `sample_prompts`.
            class_names: One per image.

        Raises:
            ConfigError: A class name is too long for the text tower.
        """
        images, pairs, _, learned, width = sample.tokens.shape
        names = [token_ids(spoken_name(name)) for name in class_names]  # start, words, end
        longest = max(len(ids) for ids in names)
        if longest + learned > clip.context_length:
            raise ConfigError(
                f"A class name of {longest - 2} tokens does not fit: the text tower takes {clip.context_length}, "
                f"{learned + 2} of which are the prompt's own. Use a shorter name."
            )
        ids = torch.zeros(images, longest, dtype=torch.int64)  # what stands behind the end token has no effect
        for row, name in zip(ids, names, strict=True):
            row[: len(name)] = name
        words = clip.token_embedding(ids.to(sample.tokens.device))[:, None, None]
        words = words.expand(-1, pairs, 2, -1, -1)
        embeds = torch.cat((words[..., :1, :], sample.tokens, words[..., 1:, :]), dim=-2)
        eot = torch.tensor([len(name) - 1 + learned for name in names], device=embeds.device)
        embeds = embeds.reshape(-1, longest + learned, width)
        encoded = encode_embeddings(clip, embeds, eot.repeat_interleave(2 * pairs))
        return normalize(encoded.float(), dim=-1).reshape(images, pairs, 2, -1)

    def text_embeddings(
        self, clip: open_clip.CLIP, features: ImageFeatures, class_names: Sequence[str], noise: Noise
    ) -> Tensor:
        """Unit text features (b, S, 2, D): `sample_prompts`, then `encode_prompts`."""
        return self.encode_prompts(clip, self.sample_prompts(features, noise), class_names)

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
