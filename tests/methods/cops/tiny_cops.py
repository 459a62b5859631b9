"""A tiny tower of the kind that CoPS asks for, and random prompts for it."""

from dataclasses import replace
from typing import Any

import torch

from medzsad.clip.tower import Tower
from medzsad.methods.cops.method import METHOD
from medzsad.methods.cops.model import CoPS
from medzsad.methods.detector import Detector
from tests import tiny

SPEC = replace(METHOD.spec, image_size=28, layers=(3,))
SIZES = {"width": tiny.WIDTH, "deep_prompts": 1, "deep_tokens": 2, "heads": 4}


def tower() -> Tower:
    return Tower(tiny.tower(SPEC), SPEC)


def model(seed: int = 0) -> CoPS:
    torch.manual_seed(seed)
    found = CoPS(**SIZES)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return found.eval()


def detector(**options: Any) -> Detector:
    card = tiny.card(samples=3, method="cops", spec=SPEC, class_name="").model_copy(update={"options": options})
    return Detector(tower(), model(), METHOD, card).frozen()
