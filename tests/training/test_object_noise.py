"""Defects of noise on the object of a sound picture."""

import torch
from torch import Tensor

from medzsad.training.object_noise import object_mask, object_noise


def _scene(side: int = 56) -> tuple[Tensor, Tensor]:
    """A bright ring with a dark hole on dark ground, a small bright spot beside it, and the ring's filled disc."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radius = ((rows - 24) ** 2 + (columns - 26) ** 2).float().sqrt()
    disc = radius < 18
    gray = torch.where(disc & (radius > 5), 180, 20)
    gray[50:53, 50:53] = 200
    return gray.expand(3, -1, -1).to(torch.uint8), disc


def test_the_object_is_the_largest_bright_part_without_holes() -> None:
    image, disc = _scene()
    assert torch.equal(object_mask(image), disc)


def test_a_picture_of_one_gray_value_is_all_object() -> None:
    assert object_mask(torch.full((3, 9, 11), 7, dtype=torch.uint8)).all()


def test_noise_lies_on_the_object_and_nothing_else_changes() -> None:
    image, disc = _scene()
    for seed in range(20):
        changed, mask = object_noise(image, torch.Generator().manual_seed(seed))
        assert mask.sum() >= 20
        assert not (mask.bool() & ~disc).any()
        assert torch.equal(changed[:, mask == 0], image[:, mask == 0])
        assert (changed[:, mask == 1] != image[:, mask == 1]).any()
        assert torch.equal(changed[0], changed[1])


def test_noise_anywhere_leaves_the_object() -> None:
    image, disc = _scene()
    masks = [object_noise(image, torch.Generator().manual_seed(seed), anywhere=True)[1].bool() for seed in range(20)]
    assert any(bool((mask & ~disc).any()) for mask in masks)


def test_the_seed_decides() -> None:
    image, _ = _scene()
    first, again, other = (object_noise(image, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_an_object_too_small_for_a_part_is_changed_whole() -> None:
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    image[:, 3:6, 3:6] = 200
    _, mask = object_noise(image, torch.Generator().manual_seed(0))
    assert mask.sum() == 9
    assert (mask[3:6, 3:6] == 1).all()
