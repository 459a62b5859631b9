"""SqueezeNet's published ImageNet weights (arXiv 1602.07360, BSD license), made ready for the convolutional stem."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from medzsad.clip.hybrid import ConvStem, Fire, pool
from medzsad.errors import ConfigError
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD

# The published network sees blue, green, red in 0..255 less these means.
_MEAN_BGR = (104.0, 117.0, 123.0)
_FIRES = range(2, 10)


def read_teacher(path: Path) -> dict[str, Tensor]:
    """The published weights by layer name, of shape (out, in, rows, columns) and (out,).

    Raises:
        ConfigError: The file is missing or not that of SqueezeNet v1.0.
    """
    try:
        with np.load(path) as content:
            weights = {name: torch.from_numpy(np.asarray(content[name], np.float32)) for name in content.files}
        weights["conv1.w"], weights["fire9/conv3x3_2.b"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"Cannot read the teacher's weights from {path} ({error.__class__.__name__}: {error}). Expected an .npz of "
            "SqueezeNet v1.0 with arrays conv1.w, conv1.b, fire2/conv1x1_1.w and so on."
        ) from None
    return weights


@torch.no_grad()
def start_stem(stem: ConvStem, teacher: Mapping[str, Tensor], images: Tensor) -> None:
    """Gives the stem the teacher's weights, so that CLIP-normalized images mean to it what they meant to the teacher.

    The teacher has no normalization, so its numbers grow to the hundreds. As its layers only scale when their inputs
    are scaled, each is divided by its root mean square over `images` (b, 3, h, w); the next takes that back.
    """
    weight, bias = _for_clip_images(teacher["conv1.w"], teacher["conv1.b"])
    scale = _root_mean_square(conv2d(images, weight, bias, stride=2, padding=3).relu())
    stem.conv1.load_state_dict({"weight": weight / scale, "bias": bias / scale})
    x = pool(stem.conv1(images).relu())
    for number in _FIRES:
        fire: Fire = getattr(stem, f"fire{number}")
        scale = _start_fire(fire, teacher, f"fire{number}", x, scale)
        x = fire(x)
        if number in {4, 8}:
            x = pool(x)


def _for_clip_images(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    weight = weight.flip(1)  # to red, green, blue
    std, mean, theirs = (torch.tensor(values) for values in (CLIP_STD, CLIP_MEAN, _MEAN_BGR[::-1]))
    offset = torch.einsum("oihw,i->o", weight, 255 * mean - theirs)
    return weight * (255 * std)[:, None, None], bias + offset


def _start_fire(fire: Fire, teacher: Mapping[str, Tensor], name: str, x: Tensor, incoming: Tensor) -> Tensor:
    """What the block's output is the teacher's divided by, once set for inputs `x`: the teacher's over `incoming`."""
    squeeze, bias = teacher[f"{name}/conv1x1_1.w"] * incoming, teacher[f"{name}/conv1x1_1.b"]
    inner = _root_mean_square(conv2d(x, squeeze, bias).relu())
    fire.squeeze.load_state_dict({"weight": squeeze / inner, "bias": bias / inner})
    parts = ((fire.expand1, f"{name}/conv1x1_2"), (fire.expand3, f"{name}/conv3x3_2"))
    wide = {part: {"weight": teacher[f"{source}.w"] * inner, "bias": teacher[f"{source}.b"]} for part, source in parts}
    for part, state in wide.items():
        part.load_state_dict(state)
    outer = _root_mean_square(fire(x))
    for part, state in wide.items():
        part.load_state_dict({key: value / outer for key, value in state.items()})
    return outer


def _root_mean_square(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()
