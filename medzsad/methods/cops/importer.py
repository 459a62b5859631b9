"""Weights of the authors of CoPS, translated into ours (METHODS B.8)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.errors import WeightsError
from medzsad.methods.base import Translation
from medzsad.methods.cops.model import CoPS

# Theirs to ours.
_RENAMES = (
    (r"ctx_pos", "prompt_normal"),
    (r"ctx_neg", "prompt_abnormal"),
    (r"t_n", "query_normal"),
    (r"t_a", "query_abnormal"),
    (r"extractor\.attn\.(.+)", r"extractor.attention.\1"),
    (r"extractor\.ln_1\.(.+)", r"extractor.norm_attention.\1"),
    (r"extractor\.ln_2\.(.+)", r"extractor.norm_mlp.\1"),
    (r"extractor\.mlp\.c_fc\.(.+)", r"extractor.expand.\1"),
    (r"extractor\.mlp\.c_proj\.(.+)", r"extractor.contract.\1"),
    (r"vae_decoder\.net\.(.+)", r"decoder.\1"),
    (r"vae_encoder\.net\.0\.(.+)", r"encoder.hidden.\1"),
    (r"vae_encoder\.mean\.(.+)", r"encoder.mean.\1"),
    (r"vae_encoder\.log_var\.(.+)", r"encoder.log_variance.\1"),
    (r"compound_prompts_text\.(\d+)", r"deep.\1"),
)
# What the authors' program leaves out of its files as well: unused, or for training only.
_IGNORED = re.compile(r"(projector|extractor_|vae_encoder\.|token).*")
# Two sizes that no shape tells.
_CATEGORY_TOKENS, _HEADS = 2, 12
_MARKS = {"ctx_pos", "t_n", "t_a", "vae_decoder.net.0.weight"}


def our_name(key: str) -> str | None:
    """Our name of one of the authors' tensors; None if there is none."""
    for pattern, name in _RENAMES:
        if match := re.fullmatch(pattern, key):
            return match.expand(name)
    return None


class CoPSImporter:
    """Reads {"prompt_learner": state dict} (METHODS B.8)."""

    def recognizes(self, content: object) -> bool:
        """Whether there is a prompt learner with prototypes and a decoder."""
        learner = content.get("prompt_learner") if isinstance(content, Mapping) else None
        return isinstance(learner, Mapping) and set(learner) >= _MARKS

    def translate(self, content: Any, path: Path) -> Translation:
        """Their state dict under our names."""
        official = content["prompt_learner"]
        if not all(isinstance(value, Tensor) for value in official.values()):
            raise WeightsError(f"{path.name} is not a checkpoint of CoPS: prompt_learner holds more than tensors.")
        return translate({str(name): value for name, value in official.items()})

    def check_tower(self, content: Any, tower: Tower) -> None:
        """Nothing in these files tells which tower they were made for."""


def translate(official: Mapping[str, Tensor]) -> Translation:
    """The authors' state dict under our names, with every key accounted for.

    Raises:
        WeightsError: A key is missing or unknown, or a shape is wrong.
    """
    state: dict[str, Tensor] = {}
    ignored = [key for key in official if _IGNORED.fullmatch(key)]
    unknown = [key for key in official if key not in ignored and our_name(key) is None]
    if unknown:
        raise WeightsError(f"Not weights of CoPS: {len(unknown)} unknown entries, such as {', '.join(unknown[:3])}.")
    for key, value in official.items():
        if key not in ignored and (name := our_name(key)):
            plain = key.startswith("ctx_") and value.ndim == 4
            state[name] = value.detach().float().squeeze((0, 1)) if plain else value.detach().float()
    sizes = _sizes(state)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in CoPS(**sizes).state_dict().items()}
    if missing := sorted(set(expected) - set(state)):
        raise WeightsError(f"Not complete weights of CoPS: nothing becomes {', '.join(missing[:3])}.")
    if more := sorted(set(state) - set(expected)):
        raise WeightsError(
            f"Not weights of CoPS: {len(more)} unknown entries, that would become {', '.join(more[:3])}."
        )
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise WeightsError(f"Weights that become {name} have shape {tuple(state[name].shape)}, expected {shape}.")
    return Translation(sizes, state, {}, (), tuple(ignored))


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    for name in ("prompt_normal", "query_normal"):
        if name not in state:
            raise WeightsError(f"Not complete weights of CoPS: nothing becomes {name}.")
        if state[name].ndim != 2:
            raise WeightsError(f"Weights that become {name} have shape {tuple(state[name].shape)}.")
    (learned, width), states = state["prompt_normal"].shape, len(state["query_normal"])
    if learned - states <= _CATEGORY_TOKENS or width % _HEADS:
        raise WeightsError(
            f"Not weights of CoPS: prompts of {learned} tokens of width {width} leave no context beside {states} state "
            f"and {_CATEGORY_TOKENS} category tokens, or cannot be cut into {_HEADS} heads."
        )
    deep = sorted(name for name in state if name.startswith("deep."))
    return {
        "width": width,
        "context_tokens": learned - states - _CATEGORY_TOKENS,
        "state_tokens": states,
        "category_tokens": _CATEGORY_TOKENS,
        "deep_prompts": len(deep),
        "deep_tokens": len(state[deep[0]]) if deep else 1,
        "heads": _HEADS,
    }
