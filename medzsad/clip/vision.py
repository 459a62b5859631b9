"""Image features of a CLIP tower: open_clip's blocks, and a second stream of local attention beside them."""

from dataclasses import dataclass

import open_clip
from open_clip.transformer import VisionTransformer
from torch import Tensor

from medzsad.clip.attention import window_mask
from medzsad.clip.guide import Guide, guided_layers
from medzsad.clip.hybrid import HybridVision
from medzsad.clip.spec import TowerSpec
from medzsad.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the vision tower says about a batch of images.

    Attributes:
        cls: (b, D) projected class token, not normalized.
        patches: One (b, N, C) tensor per layer of the spec, without the class token; raw or projected, as it says. A
            guide puts its own before them, all on its grid.
        grid: Rows and columns of the patch grid; N = rows * columns, row by row.
    """

    cls: Tensor
    patches: tuple[Tensor, ...]
    grid: tuple[int, int]


def image_features(clip: open_clip.CLIP, spec: TowerSpec, images: Tensor, guide: Guide | None = None) -> ImageFeatures:
    """Class token and patch tokens of `images`.

    Args:
        clip: Tower of `medzsad.clip.tower`.
        spec: Its spec.
        images: (b, 3, H, W) with H = W = spec.image_size, CLIP-normalized.
        guide: Features of another backbone for these images; None if there are none.

    Raises:
        ConfigError: There is a guide, but the tower has no second stream that it could stand beside.
    """
    visual = clip.visual
    if guide is not None and (isinstance(visual, HybridVision) or spec.attention == "plain"):
        raise ConfigError("Only a vision transformer with local attention can be guided; leave out the guide.")
    if isinstance(visual, HybridVision):
        cls, patches = visual.features(images, spec.layers, projected=spec.patch_post == "projected")
        return ImageFeatures(cls, patches, visual.grid_size)
    last, attended, layers = _block_outputs(visual, spec, images)
    cls = (visual.ln_post(last) if spec.cls_post_norm else last)[:, 0] @ visual.proj
    if guide is None:
        found = tuple(tokens[:, 1:] for tokens in layers)
        grid = (visual.grid_size[0], visual.grid_size[1])
    else:
        found, grid = guided_layers(visual, attended, layers, guide), guide.grid
    if spec.patch_post == "projected":
        found = tuple(visual.ln_post(tokens) @ visual.proj for tokens in found)
    return ImageFeatures(cls=cls, patches=found, grid=grid)


def _block_outputs(visual: VisionTransformer, spec: TowerSpec, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Tokens (b, 1 + N, C) after the last block, before its MLP (if it has a second stream), and of each layer read."""
    x = visual._embeds(images)  # patches, class token, positions, first norm
    local = between = x
    found = []
    blocks = visual.transformer.resblocks
    seen = None
    if spec.window:
        seen = window_mask((visual.grid_size[0], visual.grid_size[1]), spec.window).to(x.device)
    for number, block in enumerate(blocks, start=1):
        if spec.attention == "plain" or number < spec.local_from:
            local = x = block(x)
        else:
            near = seen if number > len(blocks) - spec.window_blocks else None
            attended, beside = block.attn.two_streams(block.ln_1(x), spec.attention, near)
            local = local + beside
            between = x + attended
            x = between + block.mlp(block.ln_2(between))
        if number in spec.layers:
            found.append(local)
    return x, between, found


def patch_width(clip: open_clip.CLIP, spec: TowerSpec) -> int:
    """Width C of the patch tokens that a spec reads from a tower."""
    visual = clip.visual
    if spec.patch_post == "projected":
        return int(visual.output_dim)
    return int(visual.patch_width if isinstance(visual, HybridVision) else visual.conv1.out_channels)
