"""Image features of a CLIP tower, by open_clip's own means."""

from dataclasses import dataclass

import open_clip
from torch import Tensor

from medzsad.clip.hybrid import HybridVision
from medzsad.clip.spec import TowerSpec


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the vision tower says about a batch of images.

    Attributes:
        cls: (b, D) projected class token, not normalized.
        patches: One (b, N, C) tensor per layer of the spec: raw block output without the class token.
        grid: Rows and columns of the patch grid; N = rows * columns, row by row.
    """

    cls: Tensor
    patches: tuple[Tensor, ...]
    grid: tuple[int, int]


def image_features(clip: open_clip.CLIP, spec: TowerSpec, images: Tensor) -> ImageFeatures:
    """Class token and patch tokens of `images`.

    Args:
        clip: Tower of `medzsad.clip.load`.
        spec: Its spec.
        images: (b, 3, H, W) with H = W = spec.image_size, CLIP-normalized.
    """
    if isinstance(clip.visual, HybridVision):
        cls, patches = clip.visual.features(images, spec.layers)
        return ImageFeatures(cls, patches, clip.visual.grid_size)
    last = len(clip.visual.transformer.resblocks)
    blocks = sorted({*spec.layers, last})
    found = clip.visual.forward_intermediates(
        images, indices=[block - 1 for block in blocks], output_fmt="NLC", output_extra_tokens=True
    )
    tokens = dict(zip(blocks, found["image_intermediates"], strict=True))
    if spec.cls_post_norm:
        cls = found["image_features"]
    else:
        cls = found["image_intermediates_prefix"][-1][:, 0] @ clip.visual.proj
    rows, columns = clip.visual.grid_size
    return ImageFeatures(cls=cls, patches=tuple(tokens[layer] for layer in spec.layers), grid=(rows, columns))


def patch_width(clip: open_clip.CLIP) -> int:
    """Width C of the tower's patch tokens."""
    visual = clip.visual
    return visual.patch_width if isinstance(visual, HybridVision) else int(visual.conv1.out_channels)
