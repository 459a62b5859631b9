"""The transforms of planes against MONAI's, bit by bit."""

import pytest
import torch
from monai.transforms import ScaleIntensityRange

from medzsad.slices.monai_transforms import clip_normalization, slice_transform
from medzsad.slices.transforms import SquarePlane, clip_normalize, gray_levels, plan_slices
from medzsad.slices.window import Window
from tests.phantoms import phantom_scan


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
    theirs = clip_normalization()(planes.expand(3, 5, 40, 50).clone())
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


@pytest.mark.parametrize("rule", ["fit", "stretch"])
def test_the_monai_transform_gives_the_slices_of_a_run_and_inverts_as_a_run_does(rule: str) -> None:
    plan = plan_slices(phantom_scan().scan, "acquisition")
    window = Window("given", -50.0, 350.0, -50.0, "")
    plane = _planes(1, 37, 52, seed=3)
    transform = slice_transform(plan, window, 64, rule)  # type: ignore[arg-type]
    square = SquarePlane(64, rule, plan.pixel_mm)  # type: ignore[arg-type]
    found = transform(plane.clone())
    assert torch.equal(found.as_tensor(), square(gray_levels(plane, window)))
    assert torch.equal(transform.transforms[1].inverse(found), square.inverse(found.as_tensor(), (37, 52)))
