"""The recipe of a head: tissues laid over each other, each with the share of every voxel that it covers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medzsad.phantoms.space import Box, Field, Space, coverage, grid_shape

BRAIN_TISSUES = frozenset(
    {"gray", "white", "thalamus", "putamen", "pallidum", "caudate", "callosum", "stem", "cerebellar gray",
     "cerebellar white", "dentate", "nigra", "insula white"}
)  # fmt: skip


@dataclass(slots=True)
class Layers:
    """Tissues in the order in which they were laid, each as (name, box, coverage in 255ths)."""

    laid: list[tuple[str, Box, NDArray[np.uint8]]] = field(default_factory=list)

    def lay(self, space: Space, tissue: str, distance: Field, opacity: float = 1.0) -> None:
        """Lays a tissue over what is there, from its distance in millimeters (negative inside)."""
        self.lay_share(space.box, tissue, coverage(distance) * np.float32(opacity))

    def lay_share(self, box: Box, tissue: str, share: Field) -> None:
        """Lays a tissue over what is there, from its share of each voxel."""
        self.laid.append((tissue, box, np.round(share * 255).astype(np.uint8)))

    def render(self, values: Mapping[str, float], background: float = 0.0, texture: Field | None = None,
               grain: Mapping[str, float] | None = None) -> Field:  # fmt: skip
        """The picture on the working grid in which each tissue has its value.

        Args:
            values: Value of each tissue.
            background: Value where nothing lies.
            texture: Noise of mean 0 on the working grid, that varies the tissues named in `grain`.
            grain: Relative strength of the texture by tissue; 0 where a tissue is not named.
        """
        picture = np.full(grid_shape(), background, np.float32)
        for tissue, box, share in self.laid:
            part = picture[box]
            value: Field | np.float32 = np.float32(values[tissue])
            strength = (grain or {}).get(tissue, 0.0)
            if texture is not None and strength:
                value = value * (1 + texture[box] * np.float32(strength))
            part += (value - part) * (share * np.float32(1 / 255))
        return picture

    def share_of(self, tissues: frozenset[str], over: Mapping[str, float]) -> Field:
        """Share of each voxel that the named tissues cover in the end; `over` names all tissues."""
        return self.render({name: float(name in tissues) for name in over})
