"""The transforms of planes against MONAI's, bit by bit."""

import pytest
import torch
from monai.transforms import NormalizeIntensity, ScaleIntensityRange

from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD, SquarePlane, clip_normalize, gray_levels
from medzsad.slices.window import Window


def _planes(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.empty(shape).normal_(100.0, 300.0, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("low", "high"), [(-160.0, 240.0), (0.0, 1.0), (17.3, 931.7)])
def test_gray_levels_are_those_of_monai(low: float, high: float) -> None:
    planes = _planes(3, 50, 60)
    theirs = ScaleIntensityRange(low, high, 0.0, 1.0, clip=True)(planes.clone())
    assert torch.equal(gray_levels(planes, Window("given", low, high, low, "")), theirs.as_tensor())


@pytest.mark.parametrize("channels", [1, 3])
def test_normalized_planes_are_those_of_monai(channels: int) -> None:
    planes = _planes(channels, 5, 40, 50).div(400.0).sigmoid()
    normalize = NormalizeIntensity(subtrahend=CLIP_MEAN, divisor=CLIP_STD, channel_wise=True)
    theirs = normalize(planes.expand(3, 5, 40, 50).clone())
    assert torch.equal(clip_normalize(planes), theirs.as_tensor())


def test_normalizing_leaves_the_planes_as_they_were() -> None:
    planes = _planes(3, 8, 8)
    before = planes.clone()
    clip_normalize(planes)
    assert torch.equal(planes, before)


@pytest.mark.parametrize("rule", ["fit", "stretch"])
def test_a_ramp_comes_back_from_the_square(rule: str) -> None:
    square = SquarePlane(96, rule, (1.0, 2.0))  # type: ignore[arg-type]
    ramp = (torch.arange(40.0)[:, None] + torch.arange(30.0)[None]).div(70.0)[None]
    back = square.inverse(square(ramp), (40, 30))
    assert back.shape == (1, 40, 30)
    assert torch.allclose(back[:, 3:-3, 3:-3], ramp[:, 3:-3, 3:-3], atol=0.01)
