"""A small vision tower of convolutions around a transformer, for CLIP models without a large patch grid.

A convolutional stem (`medzsad.clip.stem`) describes the picture at a quarter, an eighth and a sixteenth of its size; a
transformer lets all sixteenths see each other; a decoder carries what they say back to the quarters.
Patch tokens are the quarters, so that things of a few pixels keep a place of their own. The class token of the
transformer is joined by what a few learned queries find among the quarters: a small lesion makes an image abnormal.
"""

from collections.abc import Sequence
from typing import Any

import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medzsad.clip.positions import resize_positions
from medzsad.clip.stem import WIDTHS, fresh_stem

# Patch tokens can be read after the transformer and after the eighths (both laid out on the quarters), and after the
# quarters.
TAPS = 3
_STRIDE = 16
_QUARTER = 4
_GROUPS = 8
_QUERIES = 4


class ResidualConvolutions(nn.Module):
    """Two 3 x 3 convolutions whose result is added to what came in; nothing at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of `x`, (b, width, h, w)."""
        residue: Tensor = self.second(self.first(x.relu()).relu())
        return x + residue


class HybridVision(nn.Module):
    """The vision tower; stands where open_clip's VisionTransformer stands in a CLIP model.

    Args:
        embed_dim: Joint width D.
        image_size: Side of the square input in pixels, a multiple of 16.
        width: Width of the transformer.
        layers: Its blocks.
        head_width: Width of its attention heads.
        decoder_width: Width C of the patch tokens.
    """

    def __init__(
        self, *, embed_dim: int, image_size: int, width: int, layers: int, head_width: int, decoder_width: int
    ) -> None:
        super().__init__()
        cells = image_size // _STRIDE
        self.image_size = (image_size, image_size)
        self.grid_size = (image_size // _QUARTER, image_size // _QUARTER)
        self.output_dim, self.patch_width, self.position_grid = embed_dim, decoder_width, cells
        self.stem = fresh_stem()
        quarters, eighths, sixteenths = WIDTHS
        self.to_tokens = _lateral(sixteenths, width)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(1 + cells**2, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // head_width)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        self.from_tokens = nn.Conv2d(width, decoder_width, 1)
        self.lateral_eighths = _lateral(eighths, decoder_width)
        self.lateral_quarters = _lateral(quarters, decoder_width)
        self.eighths = nn.Sequential(ResidualConvolutions(decoder_width), ResidualConvolutions(decoder_width))
        self.quarters = ResidualConvolutions(decoder_width)
        self.norms = nn.ModuleList(nn.LayerNorm(decoder_width) for _ in range(TAPS))
        # For methods that compare local features with texts as they come, as those of CLIP's last projection.
        self.to_joint = nn.Parameter(torch.zeros(TAPS, decoder_width, embed_dim))
        self.queries = nn.Parameter(decoder_width**-0.5 * torch.randn(_QUERIES, decoder_width))
        self.queries_proj = nn.Parameter(
            (_QUERIES * decoder_width) ** -0.5 * torch.randn(_QUERIES, decoder_width, embed_dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(b, D) projected class tokens, not normalized, of images (b, 3, h, w)."""
        return self.features(images, ())[0]

    def features(
        self, images: Tensor, taps: Sequence[int], *, projected: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Class tokens (b, D), and for each tap patch tokens (b, N, C) of the quarters, row by row.

        Args:
            images: (b, 3, h, w) with h = w, a multiple of 16; the position grid is resized to it.
            taps: Rising; 1 for the sixteenths, 2 for the eighths, 3 for the quarters.
            projected: Whether patch tokens are projected into the joint space, (b, N, D).
        """
        images = images.contiguous(memory_format=torch.channels_last)
        quarters, eighths, sixteenths = self.stem(images)
        cls, tokens = self._attend(self.to_tokens(sixteenths))
        seen = self.from_tokens(tokens)
        middle = _enlarged(self.eighths(self.lateral_eighths(eighths) + _enlarged(seen, 2)), 2)
        last = self._tokens(self.quarters(self.lateral_quarters(quarters) + middle), TAPS)
        coarse = (_enlarged(seen, 4), middle)
        patches = tuple(last if tap == TAPS else self._tokens(coarse[tap - 1], tap) for tap in taps)
        if projected:
            joint = self.to_joint.to(last.dtype)
            patches = tuple(tokens @ joint[tap - 1] for tap, tokens in zip(taps, patches, strict=True))
        return cls + self._found(last), patches

    def _tokens(self, values: Tensor, tap: int) -> Tensor:
        """(b, N, C) normalized tokens of (b, C, h, w), row by row."""
        tokens: Tensor = self.norms[tap - 1](values.flatten(2).transpose(1, 2))
        return tokens

    def _found(self, tokens: Tensor) -> Tensor:
        """(b, D): what each query attends to among the tokens (b, N, C), projected and summed."""
        weights = (tokens @ self.queries.to(tokens.dtype).T).float().softmax(dim=1).to(tokens.dtype)
        return torch.einsum("bnq,bnc,qcd->bd", weights, tokens, self.queries_proj.to(tokens.dtype))

    def _attend(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Projected class tokens (b, D) and cells (b, width, h/16, w/16) that have seen each other."""
        rows, columns = cells.shape[-2:]
        tokens = cells.flatten(2).transpose(1, 2)
        first = self.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
        positions = resize_positions(self.positional_embedding, rows, "bicubic_antialias")
        tokens = self.ln_pre(torch.cat((first, tokens), dim=1) + positions.to(tokens.dtype))
        tokens = self.transformer(tokens)
        cls = self.ln_post(tokens[:, 0]) @ self.proj
        return cls, tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))


def _lateral(incoming: int, outgoing: int) -> nn.Sequential:
    # The stem's features differ in strength from channel to channel by a hundred times.
    return nn.Sequential(nn.GroupNorm(_GROUPS, incoming), nn.Conv2d(incoming, outgoing, 1))


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def hybrid_from_config(embed_dim: int, vision: dict[str, Any], image_size: int) -> HybridVision:
    """The tower of a `vision_cfg` whose `kind` is "hybrid", with random weights, for images of `image_size`."""
    sizes = {key: int(vision[key]) for key in ("width", "layers", "head_width", "decoder_width")}
    return HybridVision(embed_dim=embed_dim, image_size=image_size, **sizes)
