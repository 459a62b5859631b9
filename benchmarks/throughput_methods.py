"""Seconds per slice of every method beside Bayes-PFL: `python benchmarks/throughput.py --method all`.

Random weights of the published sizes on ViT-L-14-336 at 518 pixels, one set of CLIP weights for all; the same images,
in turns within one process.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import open_clip
import torch
from torch import Tensor

from medzsad.clip.tower import Tower, build_tower, tower_from_state
from medzsad.clip.vision import ImageFeatures
from medzsad.config import Precision
from medzsad.methods.base import Method, PromptModel
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.methods.objective import Truth
from medzsad.methods.registry import METHODS, find_method
from medzsad.scoring.device import autocast
from medzsad.weights.card import WeightsCard

_FIRST, _TOWER, _NAME = "bayes_pfl", "ViT-L-14-336", "brain"
_VISA = (962, 1200)  # normal and abnormal test images


@dataclass(frozen=True, slots=True)
class MethodRow:
    """What was measured of one method.

    Attributes:
        method: Its name.
        samples: Prompt samples per slice; 1 where nothing is sampled.
        seconds: Per slice, median of the rounds.
        relative: Median over the rounds of these seconds over those of Bayes-PFL in the same round.
    """

    method: str
    samples: int
    seconds: float
    relative: float


def method_detector(method: Method, state: dict[str, Tensor], model_config: dict[str, Any]) -> Detector:
    """A detector of the method on a tower with the given CLIP weights."""
    tower = Tower(tower_from_state(model_config, method.spec, state), method.spec)
    model = _model(method, tower).eval().requires_grad_(False)
    card = WeightsCard(
        name=f"random {method.name}", method=method.name, spec=method.spec, clip_name=_TOWER, class_name=_NAME,
        samples=method.samples,
    )  # fmt: skip
    return Detector(tower, model, method, card)


def _model(method: Method, tower: Tower) -> PromptModel:
    if method.memory is not None:
        return method.memory(_auxiliary(tower))
    options = None if method.train_options is None else method.train_options()
    return method.model(**method.model.sizes_for(tower, options))


def _auxiliary(tower: Tower) -> Iterator[tuple[ImageFeatures, Truth]]:
    """As many images as the authors remember of VisA; that all are alike changes no time."""
    side = tower.spec.image_size
    rows = side // tower.clip.visual.patch_size[0]
    patches = tuple(torch.randn(1, rows * rows, tower.patch_width) for _ in tower.spec.layers)
    features = ImageFeatures(torch.randn(1, tower.joint_width), patches, (rows, rows))
    for label, count in enumerate(_VISA):
        mask = torch.zeros(1, side, side)
        mask[:, : side // 2] = label
        for _ in range(count):
            yield features, Truth(torch.tensor([label]), mask, torch.tensor([True]))


def measure_methods(
    device: torch.device, precision: Precision, batch: int, rounds: int, seconds_of: Callable[..., float]
) -> list[MethodRow]:
    """A row for each method, all of them timed in turns after a round that warms up.

    Args:
        device: Where.
        precision: Arithmetic of the model.
        batch: Slices at once.
        rounds: Timed rounds.
        seconds_of: Times a call on a device.
    """
    torch.manual_seed(0)
    config = open_clip.get_model_config(_TOWER)
    first = find_method(_FIRST)
    state = build_tower(config, first.spec).state_dict()
    detectors = {name: method_detector(find_method(name), state, config).to(device) for name in METHODS}
    side = first.spec.image_size
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1)).to(device)
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for number in range(rounds + 1):
        for name, detector in detectors.items():
            with autocast(device, precision):
                one = seconds_of(lambda d=detector: d.predict(images, [_NAME] * batch, SharedNoise(0)), device)
            if number:
                times[name].append(one / batch)
    return [
        MethodRow(
            name,
            detector.card.samples,
            median(times[name]),
            median(own / base for own, base in zip(times[name], times[_FIRST], strict=True)),
        )
        for name, detector in detectors.items()
    ]


def methods_table(rows: list[MethodRow]) -> str:
    """The rows as a Markdown table."""
    lines = ["| method | samples | s / slice | relative to Bayes-PFL |", "| --- | --- | --- | --- |"]
    lines += [f"| `{row.method}` | {row.samples} | {row.seconds:.2f} | {row.relative:.2f} |" for row in rows]
    return "\n".join(lines)
