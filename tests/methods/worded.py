"""Tiny towers, models and authors' files of the methods whose prompts are learned tokens in front of fixed words."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import Tower, build_tower
from medzsad.methods.base import Method
from medzsad.methods.detector import Detector
from medzsad.methods.registry import find_method
from tests import tiny

NAMES = ("anomalyclip", "crane", "faprompt")
RECONSTRUCTED = ("pilot-style", "human-free-style")
# Local attention begins with the sixth block.
CONFIG: dict[str, Any] = tiny.CONFIG | {"vision_cfg": tiny.CONFIG["vision_cfg"] | {"layers": 7, "head_width": 16}}
SIZES: dict[str, dict[str, int]] = {
    "anomalyclip": {"text_width": tiny.WIDTH, "deep_prompts": 1, "deep_tokens": 2},
    "crane": {"width": tiny.WIDTH, "deep_prompts": 1, "deep_tokens": 2},
    "faprompt": {"width": tiny.WIDTH, "hidden": 9, "deep_prompts": 1, "deep_tokens": 2},
    "pilot-style": {
        "width": tiny.WIDTH,
        "text_width": tiny.WIDTH,
        "prompts": 3,
        "normal_phrases": 2,
        "abnormal_phrases": 4,
        "deep_prompts": 1,
        "deep_tokens": 2,
    },
    "human-free-style": {"text_width": tiny.WIDTH, "joint_width": tiny.WIDTH, "deep_prompts": 1, "deep_tokens": 2},
}
# Numbers of the tokens in the authors' files: learned ones stand for letters.
START, END, WORDS = 49406, 49407, {"pos": [14115, 269], "neg": [13568, 14115, 269]}
SHAPES = {
    "anomalyclip": {"pos": (1, 12), "neg": (1, 12)},
    "crane": {"pos": (1, 12), "neg": (1, 12)},
    "faprompt": {"pos": (1, 5), "neg": (10, 7)},
}


def spec(name: str) -> TowerSpec:
    return replace(find_method(name).spec, image_size=28, layers=(7,))


def tower(name: str, seed: int = 0) -> Tower:
    torch.manual_seed(seed)
    clip = build_tower(CONFIG, spec(name))
    with torch.no_grad():
        clip.token_embedding.weight.mul_(20)
        clip.visual.positional_embedding.mul_(3)
    return Tower(clip.eval().requires_grad_(False), spec(name))


def model(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    found = find_method(name).model(**SIZES[name])
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for buffer in found.buffers():
            buffer.copy_(normalize(torch.randn_like(buffer), dim=-1) if buffer.numel() else buffer)
    return found.eval()


def method_and_card(name: str, **options: Any) -> tuple[Method, Any]:
    card = tiny.card(samples=1, method=name, spec=spec(name), class_name="")
    return find_method(name), card.model_copy(update={"options": options})


def detector(name: str, **options: Any) -> Detector:
    return Detector(tower(name), model(name), *method_and_card(name, **options)).frozen()


def official(name: str, width: int = 24, deep: int = 8, table: Tensor | None = None) -> dict[str, Tensor]:
    """A state dict of the authors' structure: random prompts, and rows of a token table, by default a random one."""
    torch.manual_seed(2)
    found = {f"compound_prompts_text.{place}": torch.randn(4, width) for place in range(deep)}
    if name == "faprompt":
        found |= {"patch_meta_net.linear1.weight": torch.randn(6, 10 * width)}
        found |= {"patch_meta_net.linear1.bias": torch.randn(6)}
        found |= {"patch_meta_net.linear2.weight": torch.randn(width, 6)}
        found |= {"patch_meta_net.linear2.bias": torch.randn(width)}
    if name != "crane":
        for place in range(deep):
            found |= {f"compound_prompt_projections.{place}.weight": torch.randn(7, width)}
            found |= {f"compound_prompt_projections.{place}.bias": torch.randn(7)}
    rows = torch.randn(49408, width) if table is None else table
    for kind, (prompts, learned) in SHAPES[name].items():
        ids = torch.tensor([START, *[343] * learned, *WORDS[kind], END])
        ids = torch.cat((ids, torch.zeros(77 - len(ids), dtype=torch.int64))).expand(1, prompts, -1)
        own = 2 if (name, kind) == ("faprompt", "neg") else learned  # they begin with the tokens of the normal prompt
        found[f"ctx_{kind}"] = torch.randn(1, prompts, own, width)
        found[f"tokenized_prompts_{kind}"] = ids.int()
        found[f"token_prefix_{kind}"] = rows[ids[:, :, :1]]
        found[f"token_suffix_{kind}"] = rows[ids[:, :, 1 + learned :]]
    return found
