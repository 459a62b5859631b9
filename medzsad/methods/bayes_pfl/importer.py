"""Weights of the authors of Bayes-PFL, translated into ours (METHODS A.7)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.errors import WeightsError
from medzsad.methods.base import Translation
from medzsad.methods.renaming import accounted_for, needed, renamed, tensors_under

# Theirs to ours; the encoders' Sequential has the same indices in both.
_RENAMES = (
    (r"prompt_context", "prompt_context"),
    (r"prompt_state_(normal|abnormal)", r"prompt_\1"),
    (r"temperature_(pixel|image)", r"log_scale_\1"),
    (r"context_encoder\.weight_mean\.module\.(.+)", r"context_flow.encoder.mean.\1"),
    (r"context_encoder\.weight_log_variance\.module\.(.+)", r"context_flow.encoder.spread.\1"),
    (r"state_encoder\.weight_mean\.module\.(.+)", r"state_encoder.mean.\1"),
    (r"state_encoder\.weight_log_variance\.module\.(.+)", r"state_encoder.spread.\1"),
    (r"PFL_context\.amor_([uw])\.(weight|bias)", r"context_flow.\1.\2"),
    (r"PFL_context\.amor_b\.(weight|bias)", r"context_flow.beta.\1"),
    (r"PFL_(normal|abnormal)\.amor_([uw])", r"\1_flow.\2"),
    (r"PFL_(normal|abnormal)\.amor_b", r"\1_flow.beta"),
    (r"PFL_(normal|abnormal)\.state", r"\1_flow.state"),
    (r"fuse\.fuse_modules\.(weight|bias)", r"summary.reduce.\1"),
    (r"fuse\.compress\.(weight|bias)", r"summary.weigh.\1"),
    (r"fuse\.post_process\.(weight|bias)", r"summary.expand.\1"),
    (r"RCA\.q_proj_pre\.(weight|bias)", r"refinement.query.\1"),
    (r"RCA\.linear_proj\.(\d+)\.weight", r"refinement.patches.\1.weight"),
    (r"class_mapping\.(weight|bias)", r"text_head.\1"),
    (r"image_mapping\.(weight|bias)", r"image_head.\1"),
)
# The decoders' and p_mu's output takes no part in any score or loss.
_IGNORED = re.compile(r"((context|state)_decoder\.|PFL_(context|normal|abnormal)\.p_mu\.).+")
_ALIAS = re.compile(r"PFL_(context|normal|abnormal)\.(encoder|decoder)\.(.+)")


class BayesPFLImporter:
    """Reads {"MyModel": state dict}, the authors' checkpoints."""

    def recognizes(self, content: object) -> bool:
        """Whether there is a "MyModel"."""
        return isinstance(content, Mapping) and isinstance(content.get("MyModel"), Mapping)

    def translate(self, content: Any, path: Path) -> Translation:
        """Their state dict under our names; the stage is that of the file's name."""
        return translate(tensors_under(content, "MyModel", "Bayes-PFL", path), official_stage(path))


def translate(official: dict[str, Tensor], stage: int = 2) -> Translation:
    """The authors' state dict under our names, with every key accounted for.

    Args:
        official: Theirs.
        stage: Training stage that it was saved in.

    Raises:
        WeightsError: A key is unknown, one that sizes are read from is missing or of another shape, or entries that
            should be the same differ.
    """
    aliases = {key: original for key in official if (original := _alias_of(key))}
    for key, original in aliases.items():
        _check_alias(official, key, original)
    own = {key: value for key, value in official.items() if key not in aliases}
    state, ignored = accounted_for(own, _RENAMES, _IGNORED.fullmatch, "Bayes-PFL")
    sizes = _sizes(state)
    for name in [name for name in state if re.fullmatch(r"(normal|abnormal)_flow\..+", name)]:
        state[name] = _flat(state[name], name, sizes)
    return Translation(sizes, state, {"stage": stage}, tuple(aliases), ignored)


def our_name(key: str) -> str | None:
    """Our name of one of the authors' tensors; None if it is not one that scores depend on."""
    return renamed(key, _RENAMES)


def _alias_of(key: str) -> str | None:
    if match := _ALIAS.fullmatch(key):
        owner = "context" if match[1] == "context" else "state"
        return f"{owner}_{match[2]}.{match[3]}"
    return None


def _check_alias(official: dict[str, Tensor], key: str, original: str) -> None:
    if original not in official:
        raise WeightsError(f"Not weights of Bayes-PFL: {key} repeats {original}, which is missing.")
    if not torch.equal(official[key], official[original]):
        raise WeightsError(f"The weights contradict themselves: {key} differs from {original}.")


def _sizes(state: dict[str, Tensor]) -> dict[str, int]:
    axes = {
        "prompt_context": 3,
        "prompt_normal": 3,
        "summary.reduce.weight": 2,
        "context_flow.beta.weight": 2,
        "refinement.patches.0.weight": 2,
    }
    needed(state, axes, "Bayes-PFL")
    bank, context_tokens, width = state["prompt_context"].shape
    return {
        "width": width,
        "vision_width": state["refinement.patches.0.weight"].shape[1],
        "hidden": state["summary.reduce.weight"].shape[0],
        "layer_count": sum(name.startswith("refinement.patches.") for name in state),
        "bank": bank,
        "context_tokens": context_tokens,
        "state_tokens": state["prompt_normal"].shape[1],
        "flows": state["context_flow.beta.weight"].shape[0],
    }


def _flat(value: Tensor, name: str, sizes: dict[str, int]) -> Tensor:
    """The authors' (1, K, D, 1), (1, K, 1, D), (1, K, 1, 1) and (1, D) without the axes of length 1."""
    field = name.split(".")[1]
    shape = {"state": (sizes["width"],), "beta": (sizes["flows"],)}.get(field, (sizes["flows"], sizes["width"]))
    if value.numel() != torch.Size(shape).numel():
        raise WeightsError(f"Weights that become {name} have shape {tuple(value.shape)}, {shape} is expected.")
    return value.reshape(shape)


def official_stage(path: Path) -> int:
    """The training stage that the authors' program reads from a file's path: 2 unless the name says otherwise."""
    match = re.search(r"([12])\.pth$", path.name)
    return int(match[1]) if match and "epoch_post" in str(path) else 2
