"""Generated ultrasound, tomograms and photographs: masks where something was put, none where nothing was."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medzsad.generator.acquisition import photographed
from medzsad.generator.blobs import draw_blobs
from medzsad.generator.fields import Dice
from medzsad.generator.photographs import draw_endoscopy, draw_fundus, draw_skin
from medzsad.generator.sonography import draw_tomogram, draw_ultrasound

Draw = Callable[[Dice, int, int, float], tuple[Tensor, Tensor, Tensor]]
ORGANS: tuple[Draw, ...] = (draw_ultrasound, draw_tomogram, draw_endoscopy, draw_skin, draw_fundus)
organs = pytest.mark.parametrize("draw", ORGANS, ids=lambda draw: draw.__name__)


def _dice(seed: int) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


@organs
def test_pictures_are_in_range_and_masks_agree_with_presence(draw: Draw) -> None:
    images, masks, present = draw(_dice(0), 16, 64, 0.6)
    assert images.shape[-2:] == masks.shape[-2:] == (64, 64)
    assert bool(images.isfinite().all())
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    assert not masks[~present].any()
    assert float((masks[present].sum(dim=(1, 2)) > 0).float().mean()) > 0.6


@organs
def test_nothing_is_marked_where_nothing_is_wanted(draw: Draw) -> None:
    _, masks, present = draw(_dice(1), 8, 48, 0.0)
    assert not masks.any()
    assert not present.any()


@organs
def test_a_lesion_changes_the_picture_where_its_mask_is(draw: Draw) -> None:
    sick, masks, _ = draw(_dice(2), 24, 64, 1.0)
    sound, _, _ = draw(_dice(2), 24, 64, 0.0)
    sick, sound = (x if x.ndim == 4 else x[:, None] for x in (sick, sound))
    change = (sick - sound).abs().mean(dim=1)
    inside = (change * masks).sum() / masks.sum()
    outside = (change * (1 - masks)).sum() / (1 - masks).sum()
    assert float(inside) > 2 * float(outside)


def test_photographs_keep_their_range_and_gist() -> None:
    images = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    images = torch.nn.functional.interpolate(images, size=(48, 48), mode="bilinear")
    taken = photographed(_dice(4), images)
    assert 0 <= float(taken.min()) <= float(taken.max()) <= 1
    for one, other in zip(images, taken, strict=True):
        assert float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1]) > 0.8


def test_blobs_have_the_size_asked_for() -> None:
    blobs = draw_blobs(_dice(5), 30, 96, low=0.3, high=0.3, ragged=0.0, stretch=1.0, spread=0.2)
    area = (blobs.radius < 1).float().mean(dim=(1, 2)) * 4
    assert torch.allclose(area, torch.full((30,), torch.pi * 0.09), rtol=0.05)
