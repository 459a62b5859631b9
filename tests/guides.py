"""Small random DINOv2 files under Meta's and timm's names, and Crane weights that they can guide."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from medzsad.clip import dino
from medzsad.weights.card import WeightsCard
from medzsad.weights.store import save_weights
from tests import tiny
from tests.methods import worded

WIDTH, HEADS, DEPTH, PATCH, GRID, REGISTERS = 32, 2, 2, 7, 4, 4
CHANGES = {"patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets DINOv2 be of the sizes of `meta_state`."""
    monkeypatch.setattr(dino, "_CHANGES", CHANGES)
    monkeypatch.setattr(dino, "_SIDE", PATCH * GRID)


def meta_state(
    seed: int = 0, *, width: int = WIDTH, depth: int = DEPTH, patch: int = PATCH, grid: int = GRID
) -> dict[str, Tensor]:
    """A state dict with the names and the structure of Meta's file."""
    source = torch.Generator().manual_seed(seed)

    def new(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source)

    state = {
        "cls_token": new(1, 1, width),
        "pos_embed": new(1, 1 + grid**2, width),
        "register_tokens": new(1, REGISTERS, width),
        "mask_token": new(1, width),
        "patch_embed.proj.weight": new(width, 3, patch, patch) / patch,
        "patch_embed.proj.bias": new(width),
        "norm.weight": 1 + 0.1 * new(width),
        "norm.bias": 0.1 * new(width),
    }
    for place in range(depth):
        block = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        block |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in block.items():
            weight = new(*shape) / width**0.5 if len(shape) == 2 else 1 + 0.1 * new(*shape)
            state |= {f"blocks.{place}.{name}.weight": weight, f"blocks.{place}.{name}.bias": 0.1 * new(shape[0])}
        state |= {f"blocks.{place}.ls{number}.gamma": 0.5 + 0.1 * new(width) for number in (1, 2)}
    return state


def timm_state(meta: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers as timm's file holds them: positions of patches alone, that of the class token inside it."""
    state = {name: value for name, value in meta.items() if name not in {"mask_token", "register_tokens"}}
    positions = meta["pos_embed"]
    state |= {"reg_token": meta["register_tokens"], "pos_embed": positions[:, 1:]}
    state["cls_token"] = meta["cls_token"] + positions[:, :1]
    return {name: value.contiguous() for name, value in state.items()}


def write_guide(path: Path, seed: int = 0) -> Path:
    """A small guide: Meta's format, or timm's if the name ends in .safetensors or .bin."""
    if path.suffix == ".safetensors":
        save_file(timm_state(meta_state(seed)), path)
    else:
        torch.save(timm_state(meta_state(seed)) if path.suffix == ".bin" else meta_state(seed), path)
    return path


def write_crane(path: Path, method: str = "crane", **fields: Any) -> Path:
    """Weights of a method like Crane with their tower inside."""
    card = WeightsCard(
        name=f"tiny-{method}",
        method=method,
        spec=worded.spec(method),
        clip_name="tiny",
        clip_config=worded.CONFIG,
        class_name="",
        samples=1,
        threshold=0.5,
        threshold_provenance="test",
        **fields,
    )
    save_weights(path, worded.model(method), card, worded.tower(method).clip)
    return path


def images(count: int) -> Tensor:
    """Random CLIP-normalized images, some of whose values lie beyond black and white."""
    return tiny.images(count)
