"""The tower of medzsad-mini: its sizes, its start, and its features while it learns."""

import math
from contextlib import AbstractContextManager
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import build_tower
from medzsad.config import PrecisionChoice
from medzsad.scoring.device import autocast, resolve_precision

# Same keys as open_clip's model configurations; the kind "hybrid" is that of `medzsad.clip.hybrid`.
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "kind": "hybrid",
        "image_size": 224,
        "width": 256,
        "layers": 4,
        "head_width": 64,
        "decoder_width": 128,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
}
SPEC = TowerSpec(image_size=224, layers=(1, 2, 3))


def arithmetic(precision: PrecisionChoice) -> AbstractContextManager[object]:
    """The context in which the tower is called on the CPU, where the recipe runs."""
    cpu = torch.device("cpu")
    return autocast(cpu, resolve_precision(precision, cpu))


def build_clip(vocabulary_size: int) -> open_clip.CLIP:
    """A tower with fresh weights and a token table of `vocabulary_size` rows (see `captions.Vocabulary`)."""
    text = {**MODEL_CONFIG["text_cfg"], "vocab_size": vocabulary_size}
    clip = build_tower({**MODEL_CONFIG, "text_cfg": text}, SPEC)
    _start(clip)
    return clip.to(memory_format=torch.channels_last)


@torch.no_grad()
def _start(clip: open_clip.CLIP) -> None:
    # The feature of a text must come from its words, not from the end token that all texts share.
    nn.init.normal_(clip.token_embedding.weight, std=0.3)
    clip.token_embedding.weight[-1] = 0
    visual = clip.visual
    width = visual.class_embedding.shape[0]
    visual.positional_embedding[1:] = 0.5 * _waves(visual.position_grid, width)
    visual.positional_embedding[0] = 0


def _waves(grid: int, width: int) -> Tensor:
    """(grid * grid, width) sines and cosines of the row and the column."""
    line = (torch.arange(grid) + 0.5) / grid
    frequencies = math.pi * torch.logspace(0, math.log10(grid / 2), width // 4)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    angles = [part.reshape(-1, 1) * frequencies for part in (rows, columns)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
