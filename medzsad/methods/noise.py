"""Where the random draws of a method come from."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard normal draws for a batch.

    Attributes:
        context: (b, R, D), for the distribution that depends on the image.
        normal: (R, D), for the distribution of the normal state.
        abnormal: (R, D), of the abnormal state.
    """

    context: Tensor
    normal: Tensor
    abnormal: Tensor

    def to(self, like: Tensor) -> "Noise":
        """The same draws on the device of `like`."""
        return Noise(*(draw.to(like.device) for draw in (self.context, self.normal, self.abnormal)))


class NoiseSource(Protocol):
    """Gives the draws for the next images."""

    def draw(self, images: int, samples: int, width: int) -> Noise:
        """Draws for `images` images, `samples` samples of `width` numbers each, float32 on the CPU."""
        ...


class SharedNoise:
    """The same draws for every image, so that a score depends on its image and the seed alone."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def draw(self, images: int, samples: int, width: int) -> Noise:
        """Draws that depend on the seed, `samples` and `width` only."""
        generator = torch.Generator().manual_seed(self.seed)
        context, normal, abnormal = torch.randn(3, samples, width, generator=generator).unbind()
        return Noise(context.expand(images, samples, width), normal, abnormal)


class GivenNoise:
    """Draws that were made elsewhere, given out image by image in their order.

    Args:
        noise: Draws for all images to come.
    """

    def __init__(self, noise: Noise) -> None:
        self.noise = noise
        self._next = 0

    def draw(self, images: int, samples: int, width: int) -> Noise:
        """The next `images` rows.

        Raises:
            ValueError: They are used up, or of another size.
        """
        context = self.noise.context[self._next : self._next + images]
        if context.shape != (images, samples, width):
            raise ValueError(
                f"Noise for {images} images of {samples} x {width} was asked for, image {self._next} on; "
                f"given were {tuple(self.noise.context.shape)}."
            )
        self._next += images
        return Noise(context, self.noise.normal, self.noise.abnormal)


class OfficialNoise:
    """Draws in the order of the authors' program (METHODS A.6).

    Each image takes 3 R vectors from one stream: context, normal state, abnormal state. The state draws of the first
    image serve all later ones, so a score depends on how many images came before.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._states: tuple[Tensor, Tensor] | None = None

    def draw(self, images: int, samples: int, width: int) -> Noise:
        """The next draws of the stream."""
        contexts = []
        for _ in range(images):
            draws = [torch.randn(1, width, generator=self._generator) for _ in range(3 * samples)]
            context, normal, abnormal = torch.cat(draws).reshape(3, samples, width).unbind()
            contexts.append(context)
            if self._states is None:
                self._states = (normal, abnormal)
        if self._states is None:
            raise ValueError("Noise for no image was asked for.")
        return Noise(torch.stack(contexts), *self._states)
