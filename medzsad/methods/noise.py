"""Where the random draws of a method come from: standard normal numbers by name, as its model asks for them."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor


class NoiseSource(Protocol):
    """Gives the draws for the next images."""

    def draw(self, images: int, shapes: Mapping[str, tuple[int, ...]], shared: frozenset[str]) -> dict[str, Tensor]:
        """Draws for `images` images, float32 on the CPU.

        Args:
            images: Number of images b.
            shapes: Name and shape, without the batch, of each draw, in their order.
            shared: Names of the draws that all images share.

        Returns:
            (b, *shape) by name; (*shape) where the draw is shared.
        """
        ...


class SharedNoise:
    """The same draws for every image, so that a score depends on its image and the seed alone."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def draw(self, images: int, shapes: Mapping[str, tuple[int, ...]], shared: frozenset[str]) -> dict[str, Tensor]:
        """Draws that depend on the seed and the shapes only."""
        generator = torch.Generator().manual_seed(self.seed)
        counts = [torch.Size(shape).numel() for shape in shapes.values()]
        if not shapes:
            return {}
        # One long draw: cut into several, a draw whose length is no multiple of 16 would give other numbers.
        numbers = torch.split(torch.randn(sum(counts), generator=generator), counts)
        return {
            name: one.reshape(shape) if name in shared else one.reshape(shape).expand(images, *shape)
            for (name, shape), one in zip(shapes.items(), numbers, strict=True)
        }


class GivenNoise:
    """Draws that were made elsewhere, given out image by image in their order.

    Args:
        draws: For all images to come, by name; those that images share have no axis for them.
    """

    def __init__(self, draws: Mapping[str, Tensor]) -> None:
        self.draws = dict(draws)
        self._next = 0

    def draw(self, images: int, shapes: Mapping[str, tuple[int, ...]], shared: frozenset[str]) -> dict[str, Tensor]:
        """The next `images` rows.

        Raises:
            ValueError: They are used up, of another size, or a name is missing.
        """
        found = {}
        for name, shape in shapes.items():
            if name not in self.draws:
                raise ValueError(f"No draws called {name!r} were given; there are {', '.join(self.draws) or 'none'}.")
            given = self.draws[name]
            found[name] = given if name in shared else given[self._next : self._next + images]
            wanted = shape if name in shared else (images, *shape)
            if tuple(found[name].shape) != wanted:
                raise ValueError(
                    f"Draws {name!r} of shape {wanted} were asked for, image {self._next} on; "
                    f"given were {tuple(given.shape)}."
                )
        self._next += images
        return found


class OfficialNoise:
    """Draws in the order of the authors' programs (METHODS A.6).

    Each image takes one vector after the other from a single stream, name by name. The shared draws of the first image
    serve all later ones, so a score depends on how many images came before.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._shared: dict[str, Tensor] = {}

    def draw(self, images: int, shapes: Mapping[str, tuple[int, ...]], shared: frozenset[str]) -> dict[str, Tensor]:
        """The next draws of the stream."""
        own: dict[str, list[Tensor]] = {name: [] for name in shapes if name not in shared}
        for _ in range(images):
            for name, (samples, width) in shapes.items():
                vectors = [torch.randn(1, width, generator=self._generator) for _ in range(samples)]
                if name in own:
                    own[name].append(torch.cat(vectors))
                else:
                    self._shared.setdefault(name, torch.cat(vectors))
        return {name: torch.stack(own[name]) if name in own else self._shared[name] for name in shapes}
