"""Healthy structures: mirrored where the body is, absent where it is not, and never beyond their family."""

import torch
from torch import Tensor

from medzsad.generator import structures
from medzsad.generator.bodies import FAMILIES, Frame, body_frame, is_family
from medzsad.generator.fields import Dice, pixel_grid

COUNT, SIZE = 40, 48


def _frame(symmetric: float) -> Frame:
    """Upright round bodies in the middle, mirrored or not."""
    u, v = (axis.expand(COUNT, -1, -1) for axis in pixel_grid(SIZE))
    mirrored = u.abs() if symmetric else u
    return Frame(u, v, mirrored, u, v, torch.hypot(u, v), torch.full((COUNT, 1, 1), symmetric))


def _dice(seed: int) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def _family(name: str) -> Tensor:
    return torch.full((COUNT,), FAMILIES.index(name))


def _parts(frame: Frame) -> list[Tensor]:
    flat, ones = torch.full((COUNT, SIZE, SIZE), 0.4), torch.ones(COUNT, 1, 1)
    noise = torch.zeros_like(flat)
    return [
        structures._shells(_dice(1), frame, ones, ones, flat, noise),
        structures._busy(_dice(2), frame, ones, flat),
        structures._central(_dice(3), frame, ones, flat, noise),
    ]


def test_conspicuous_structures_of_symmetric_bodies_come_in_pairs() -> None:
    for made in _parts(_frame(1.0)):
        assert float((made - 0.4).abs().max()) > 0.1
        assert torch.allclose(made, made.flip(-1), atol=1e-4)


def test_bodies_without_symmetry_have_no_shells() -> None:
    assert torch.equal(_parts(_frame(0.0))[0], torch.full((COUNT, SIZE, SIZE), 0.4))


def test_some_bodies_of_each_kind_stay_plain() -> None:
    for made in _parts(_frame(1.0)):
        plain = ((made - 0.4).abs().amax(dim=(1, 2)) < 1e-6).float().mean()
        assert 0.2 < float(plain) < 0.98


def test_textures_get_no_organs() -> None:
    flat = torch.full((COUNT, SIZE, SIZE), 0.4)
    family = _family("surface")
    frame = body_frame(_dice(4), COUNT, SIZE, family)
    bodies = is_family(family, "head", "body", "object")
    assert float(bodies.sum()) == 0
    assert torch.equal(structures._shells(_dice(5), frame, bodies, bodies, flat, flat), flat)
    assert torch.equal(structures._busy(_dice(6), frame, bodies, flat), flat)


def test_all_structures_together_are_finite_and_change_the_tissue() -> None:
    flat = torch.full((COUNT, SIZE, SIZE), 0.4)
    for name in FAMILIES:
        frame = body_frame(_dice(7), COUNT, SIZE, _family(name))
        made = structures.inner_structures(_dice(8), frame, _family(name), flat)
        assert bool(made.isfinite().all())
        assert not torch.equal(made, flat)
