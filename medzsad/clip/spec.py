"""What a method needs to know and to fix about its CLIP tower."""

from dataclasses import dataclass
from typing import Literal, get_args

from medzsad.errors import ConfigError

Activation = Literal["gelu", "quick_gelu"]
PositionResize = Literal["bicubic_antialias", "bicubic", "bilinear"]
Attention = Literal["plain", "vv", "qqkkvv"]
PatchPost = Literal["raw", "projected"]


@dataclass(frozen=True, slots=True)
class TowerSpec:
    """How a CLIP tower is built and which of its features a method reads.

    Attributes:
        image_size: Side of the square input in pixels; a multiple of the patch size.
        layers: Vision blocks whose patch tokens are read, counted from 1, rising.
        activation: Activation of both towers. Bayes-PFL runs OpenAI's weights with the exact GELU, all others with
            QuickGELU.
        position_resize: How a stored position grid of another size is enlarged.
        attention: Where patch tokens come from: `plain` takes the output of the blocks; `vv` a second stream beside
            them that attends with values in place of queries and keys and passes no MLP (METHODS B.1); `qqkkvv` such
            a stream whose attention is the sum of three: queries with queries, keys with keys, values with values.
        local_from: First block of that second stream, counted from 1.
        window: Side, in patches, of the square around a patch that its second stream sees in the last `window_blocks`
            blocks; an odd number, or 0 for all patches.
        window_blocks: How many blocks see no further than that.
        patch_post: `raw` patch tokens, or `projected` by the last norm and the projection into the joint space.
        cls_post_norm: Whether the class token passes the last norm before it is projected.
    """

    image_size: int
    layers: tuple[int, ...]
    activation: Activation = "gelu"
    position_resize: PositionResize = "bicubic_antialias"
    attention: Attention = "plain"
    local_from: int = 1
    window: int = 0
    window_blocks: int = 4
    patch_post: PatchPost = "raw"
    cls_post_norm: bool = True

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.layers, self.layers[1:], strict=False))
        if not self.layers or self.layers[0] < 1 or not rising:
            raise ConfigError(f"Tower layers must be rising block numbers from 1, got {self.layers}.")
        if self.image_size < 1:
            raise ConfigError(f"Tower image_size must be positive, got {self.image_size}.")
        if self.attention != "plain" and not 1 <= self.local_from <= self.layers[0]:
            raise ConfigError(
                f"The second stream must begin at or before the first layer that is read, {self.layers[0]}; "
                f"local_from is {self.local_from}."
            )
        if self.window and (
            self.attention == "plain" or self.window % 2 == 0 or min(self.window, self.window_blocks) < 1
        ):
            raise ConfigError(
                "A window is an odd number of patches, over one block or more, of a tower with a second stream, which "
                f"the embedded tower lacks; got {self.window} over {self.window_blocks} blocks with {self.attention} "
                "attention. Leave window out, or set it to 0, and patches see everything."
            )
        for field, value, allowed in (
            ("activation", self.activation, get_args(Activation)),
            ("position_resize", self.position_resize, get_args(PositionResize)),
            ("attention", self.attention, get_args(Attention)),
            ("patch_post", self.patch_post, get_args(PatchPost)),
        ):
            if value not in allowed:
                raise ConfigError(f"Tower {field} is {value!r}; known are {', '.join(allowed)}.")
