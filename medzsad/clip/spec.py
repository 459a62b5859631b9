"""What a method needs to know and to fix about its CLIP tower."""

from dataclasses import dataclass
from typing import Literal

from medzsad.errors import ConfigError

Activation = Literal["gelu", "quick_gelu"]
PositionResize = Literal["bicubic_antialias", "bicubic", "bilinear"]


@dataclass(frozen=True, slots=True)
class TowerSpec:
    """How a CLIP tower is built and which of its features a method reads.

    Attributes:
        image_size: Side of the square input in pixels; a multiple of the patch size.
        layers: Vision blocks whose patch tokens are read, counted from 1, rising.
        activation: Activation of both towers. Bayes-PFL runs OpenAI's weights with the exact GELU.
        position_resize: How a stored position grid of another size is enlarged.
        attention: Attention path of the vision blocks.
        cls_post_norm: Whether the class token passes the last norm before it is projected.
    """

    image_size: int
    layers: tuple[int, ...]
    activation: Activation = "gelu"
    position_resize: PositionResize = "bicubic_antialias"
    attention: Literal["plain"] = "plain"
    cls_post_norm: bool = True

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.layers, self.layers[1:], strict=False))
        if not self.layers or self.layers[0] < 1 or not rising:
            raise ConfigError(f"Tower layers must be rising block numbers from 1, got {self.layers}.")
        if self.image_size < 1:
            raise ConfigError(f"Tower image_size must be positive, got {self.image_size}.")
        for field, value, allowed in (
            ("activation", self.activation, ("gelu", "quick_gelu")),
            ("position_resize", self.position_resize, ("bicubic_antialias", "bicubic", "bilinear")),
            ("attention", self.attention, ("plain",)),
        ):
            if value not in allowed:
                raise ConfigError(f"Tower {field} is {value!r}; known are {', '.join(allowed)}.")
