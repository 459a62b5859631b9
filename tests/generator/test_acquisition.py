"""What a scanner and a viewer do to generated slices."""

import torch

from medzsad.generator.acquisition import acquire
from medzsad.generator.fields import Dice

SIZE = 64


def _acquired(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1, 1, SIZE)
    inside = (x[:, None] ** 2 + x[None, :] ** 2 < 0.3).float()
    images = (0.6 * inside).expand(count, -1, -1).clone()
    masks = torch.zeros_like(images)
    masks[:, 28:36, 28:36] = 1
    return acquire(Dice(torch.Generator().manual_seed(4)), images, masks)


def test_gray_values_stay_between_0_and_1() -> None:
    images, _ = _acquired(32)
    assert images.min() >= 0
    assert images.max() <= 1


def test_the_air_of_some_pictures_is_exactly_0_and_that_of_others_is_noisy() -> None:
    images, _ = _acquired(48)
    corners = images[:, 20:44, 1:7].flatten(1)
    silent = (corners == 0).float().mean(dim=1) > 0.95
    assert 8 < int(silent.sum()) < 44


def test_frames_and_letters_never_lie_on_a_lesion() -> None:
    images, masks = _acquired(200)
    plain = images[masks.bool()]
    assert plain.numel() > 0
    border = torch.cat((images[:, 0, :], images[:, -1, :]), dim=1)
    framed = (border > 0.35).float().mean(dim=1) > 0.9
    assert framed.any()
    assert not (masks[framed][:, [0, -1]] > 0).any()
