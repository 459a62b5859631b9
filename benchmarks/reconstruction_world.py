"""A made-up joint space of images and texts, of 48 dimensions, for the reconstructions of prompt learning.

Its directions are orthogonal and known: what sound and abnormal things have in common everywhere, what objects are,
what their textures are, and how defects look in the domain that prompts are learned in and in another one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

WIDTH = 48
OBJECTS = 4
_PATCHES = 64
_PHRASES = 6


@dataclass(frozen=True, slots=True)
class Domain:
    """Where images come from.

    Attributes:
        turn: How far objects and the look of defects are turned away from those of the source, in radians.
        clutter: How strongly harmless patches look like defects of the source.
        noise: Length of the noise of a patch, relative to that of an object.
    """

    turn: float = 0.0
    clutter: float = 0.0
    noise: float = 0.9


SOURCE = Domain()
MILD = Domain(turn=0.6, clutter=0.5, noise=0.95)
HARD = Domain(turn=1.1, clutter=0.9, noise=1.0)


@dataclass(frozen=True, slots=True)
class Views:
    """Features of images and the truth about them.

    Attributes:
        cls: (b, D) of whole images.
        patches: (b, N, D).
        masks: (b, N) float, 1 in a defect.
        objects: (b,) which object each image shows.
    """

    cls: Tensor
    patches: Tensor
    masks: Tensor
    objects: Tensor

    def part(self, rows: Tensor) -> "Views":
        """Some of the images."""
        return Views(self.cls[rows], self.patches[rows], self.masks[rows], self.objects[rows])


class World:
    """The directions of one made-up space.

    Args:
        seed: Decides on all of them.
        by_object: Whether what is a defect depends on the object: then a defect on one object is the texture of
            another, with little of the common direction of defects; otherwise all defects have that direction, and
            beside it a look of their domain.
    """

    sound: Tensor
    abnormal: Tensor
    _look: Tensor
    _other_look: Tensor
    _objects: Tensor
    _other_objects: Tensor
    _textures: Tensor

    def __init__(self, seed: int, by_object: bool) -> None:
        self._source = torch.Generator().manual_seed(seed)
        self._by_object = by_object
        directions = torch.linalg.qr(self._random(WIDTH, WIDTH)).Q.T
        self.sound, self.abnormal, self._look, self._other_look = directions[:4]
        self._objects, self._other_objects, self._textures = directions[4 : 4 + 3 * OBJECTS].chunk(3)

    def bank(self, spread: float = 0.8) -> tuple[Tensor, Tensor]:
        """(m, D) unit features of phrases for sound and for abnormal things, around the common directions."""
        sound, abnormal = (
            normalize(center + spread * self._random(_PHRASES, WIDTH) / WIDTH**0.5, dim=-1)
            for center in (self.sound, self.abnormal)
        )
        return sound, abnormal

    def views(self, count: int, domain: Domain = SOURCE) -> Views:
        """So many images of a domain, every second one with a defect."""
        objects = torch.randint(OBJECTS, (count,), generator=self._source)
        abnormal = (torch.arange(count) % 2 == 1).float()
        size = torch.randint(_PATCHES // 16, _PATCHES // 4, (count, 1), generator=self._source)
        start = (torch.rand(count, 1, generator=self._source) * (_PATCHES - size)).long()
        place = torch.arange(_PATCHES)
        masks = abnormal[:, None] * ((place >= start) & (place < start + size)).float()
        own = _turned(self._objects, self._other_objects, domain.turn)[objects]
        marks = self._defects(objects, masks, domain)
        noise = domain.noise * self._random(count, _PATCHES, WIDTH) / WIDTH**0.5
        strength = 0.6 + 0.8 * torch.rand(count, _PATCHES, 1, generator=self._source)
        patches = own[:, None] + strength * marks + noise
        whole = own + 1.5 * marks.mean(dim=1) + 0.3 * self._random(count, WIDTH) / WIDTH**0.5
        return Views(whole, patches, masks, objects)

    def _defects(self, objects: Tensor, masks: Tensor, domain: Domain) -> Tensor:
        """(b, N, D) what makes patches sound or defective, beside the object that they belong to."""
        inside = masks[..., None]
        outside: Tensor = 1 - inside
        common: Tensor = 0.3 * outside * self.sound
        if self._by_object:
            # Objects 0 and 1 have each other's texture for a defect, and so have 2 and 3.
            texture = outside * self._textures[objects][:, None] + inside * self._textures[objects ^ 1][:, None]
            return common + 0.15 * inside * self.abnormal + 0.4 * texture
        look = _turned(self._look, self._other_look, domain.turn)
        harmless = (torch.rand(masks.shape, generator=self._source) < 0.3)[..., None] * outside
        return common + inside * (0.3 * self.abnormal + 0.35 * look) + domain.clutter * 0.35 * harmless * self._look

    def _random(self, *shape: int) -> Tensor:
        drawn: Tensor = torch.randn(*shape, generator=self._source)
        return drawn


def _turned(directions: Tensor, others: Tensor, angle: float) -> Tensor:
    """Unit directions, turned towards others by an angle."""
    return math.cos(angle) * directions + math.sin(angle) * others
