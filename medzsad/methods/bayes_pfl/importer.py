"""Weights of the authors of Bayes-PFL, translated into ours (METHODS A.7)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.errors import WeightsError
from medzsad.methods.base import Translation
from medzsad.methods.bayes_pfl.model import BayesPFL

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
        state = content["MyModel"]
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise WeightsError(f"{path.name} is not a checkpoint of Bayes-PFL: MyModel holds more than tensors.")
        return translate({str(name): value for name, value in state.items()}, official_stage(path))

    def check_tower(self, content: Any, tower: Tower) -> None:
        """Nothing in these files tells which tower they were made for."""


def translate(official: dict[str, Tensor], stage: int = 2) -> Translation:
    """The authors' state dict under our names, with every key accounted for.

    Args:
        official: Theirs.
        stage: Training stage that it was saved in.

    Raises:
        WeightsError: A key is missing or unknown, a shape is wrong, or entries that should be the same differ.
    """
    state: dict[str, Tensor] = {}
    aliases, ignored, unknown = [], [], []
    for key, value in official.items():
        if original := _alias_of(key):
            _check_alias(official, key, original)
            aliases.append(key)
        elif _IGNORED.fullmatch(key):
            ignored.append(key)
        elif name := our_name(key):
            state[name] = value.detach().float()
        else:
            unknown.append(key)
    if unknown:
        raise WeightsError(f"Not weights of Bayes-PFL: {len(unknown)} unknown entries, such as {_some(unknown)}.")
    sizes = _sizes(state)
    for name in [name for name in state if re.fullmatch(r"(normal|abnormal)_flow\..+", name)]:
        state[name] = _flat(state[name], name, sizes)
    _check_shapes(state, sizes)
    return Translation(sizes, state, {"stage": stage}, tuple(aliases), tuple(ignored))


def our_name(key: str) -> str | None:
    """Our name of one of the authors' tensors; None if it is not one that scores depend on."""
    for pattern, name in _RENAMES:
        if match := re.fullmatch(pattern, key):
            return match.expand(name)
    return None


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


def _some(keys: list[str]) -> str:
    return ", ".join(sorted(keys)[:3])


def _sizes(state: dict[str, Tensor]) -> dict[str, int]:
    needed = {
        "prompt_context": 3,
        "prompt_normal": 3,
        "summary.reduce.weight": 2,
        "context_flow.beta.weight": 2,
        "refinement.patches.0.weight": 2,
    }
    for name, dims in needed.items():
        if name not in state:
            raise WeightsError(f"Not weights of Bayes-PFL: nothing that becomes {name} is in the file.")
        if state[name].ndim != dims:
            raise WeightsError(f"Weights that become {name} have shape {tuple(state[name].shape)}.")
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


def _check_shapes(state: dict[str, Tensor], sizes: dict[str, int]) -> None:
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in BayesPFL(**sizes).state_dict().items()}
    missing = sorted(set(expected) - set(state))
    if missing:
        raise WeightsError(f"Not complete weights of Bayes-PFL: nothing becomes {_some(missing)}.")
    if more := sorted(set(state) - set(expected)):
        raise WeightsError(f"Not weights of Bayes-PFL: {len(more)} unknown entries, that would become {_some(more)}.")
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise WeightsError(f"Weights that become {name} have shape {tuple(state[name].shape)}, expected {shape}.")


def official_stage(path: Path) -> int:
    """The training stage that the authors' program reads from a file's path: 2 unless the name says otherwise."""
    match = re.search(r"([12])\.pth$", path.name)
    return int(match[1]) if match and "epoch_post" in str(path) else 2
