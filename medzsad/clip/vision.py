"""Image features of a CLIP tower: open_clip's blocks, and a second stream of local attention beside them."""

from dataclasses import dataclass

import open_clip
from open_clip.transformer import VisionTransformer
from torch import Tensor

from medzsad.clip.hybrid import HybridVision
from medzsad.clip.spec import TowerSpec


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the vision tower says about a batch of images.

    Attributes:
        cls: (b, D) projected class token, not normalized.
        patches: One (b, N, C) tensor per layer of the spec, without the class token; raw or projected, as it says.
        grid: Rows and columns of the patch grid; N = rows * columns, row by row.
    """

    cls: Tensor
    patches: tuple[Tensor, ...]
    grid: tuple[int, int]


def image_features(clip: open_clip.CLIP, spec: TowerSpec, images: Tensor) -> ImageFeatures:
    """Class token and patch tokens of `images`.

    Args:
        clip: Tower of `medzsad.clip.tower`.
        spec: Its spec.
        images: (b, 3, H, W) with H = W = spec.image_size, CLIP-normalized.
    """
    visual = clip.visual
    if isinstance(visual, HybridVision):
        cls, patches = visual.features(images, spec.layers)
        return ImageFeatures(cls, patches, visual.grid_size)
    last, layers = _block_outputs(visual, spec, images)
    cls = (visual.ln_post(last) if spec.cls_post_norm else last)[:, 0] @ visual.proj
    if spec.patch_post == "projected":
        layers = [visual.ln_post(tokens) @ visual.proj for tokens in layers]
    rows, columns = visual.grid_size
    return ImageFeatures(cls=cls, patches=tuple(tokens[:, 1:] for tokens in layers), grid=(rows, columns))


def _block_outputs(visual: VisionTransformer, spec: TowerSpec, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Tokens (b, 1 + N, C) after the last block, and of each layer that is read."""
    x = visual._embeds(images)  # patches, class token, positions, first norm
    local, found = x, []
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        if spec.attention == "plain" or number < spec.local_from:
            local = x = block(x)
        else:
            attended, beside = block.attn.two_streams(block.ln_1(x), spec.attention)
            local = local + beside
            x = x + attended
            x = x + block.mlp(block.ln_2(x))
        if number in spec.layers:
            found.append(local)
    return x, found


def patch_width(clip: open_clip.CLIP, spec: TowerSpec) -> int:
    """Width C of the patch tokens that a spec reads from a tower."""
    visual = clip.visual
    if isinstance(visual, HybridVision):
        return visual.patch_width
    return int(visual.output_dim if spec.patch_post == "projected" else visual.conv1.out_channels)
