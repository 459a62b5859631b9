"""Weights of the authors of CoPS, translated into ours (METHODS B.8)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from medzsad.errors import WeightsError
from medzsad.methods.base import Translation
from medzsad.methods.renaming import accounted_for, needed, renamed, tensors_under

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
    return renamed(key, _RENAMES)


class CoPSImporter:
    """Reads {"prompt_learner": state dict} (METHODS B.8)."""

    def recognizes(self, content: object) -> bool:
        """Whether there is a prompt learner with prototypes and a decoder."""
        learner = content.get("prompt_learner") if isinstance(content, Mapping) else None
        return isinstance(learner, Mapping) and set(learner) >= _MARKS

    def translate(self, content: Any, path: Path) -> Translation:
        """Their state dict under our names."""
        return translate(tensors_under(content, "prompt_learner", "CoPS", path))


def translate(official: Mapping[str, Tensor]) -> Translation:
    """The authors' state dict under our names, with every key accounted for.

    Raises:
        WeightsError: A key is unknown, or one that sizes are read from is missing or of another shape.
    """
    state, ignored = accounted_for(official, _RENAMES, _IGNORED.fullmatch, "CoPS")
    for name in ("prompt_normal", "prompt_abnormal"):
        if name in state and state[name].ndim == 4:
            state[name] = state[name].squeeze((0, 1))
    return Translation(_sizes(state), state, {}, (), ignored)


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    needed(state, {"prompt_normal": 2, "query_normal": 2}, "CoPS")
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
