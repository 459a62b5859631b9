"""The tower of medzsad-mini: a small open_clip model, its start, and its features while it learns."""

import math
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

# Same keys as open_clip's model configurations.
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 192, "patch_size": 12, "width": 192, "layers": 6, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
}
FEATURE_LAYERS = (3, 4, 5, 6)


def build_clip(vocabulary_size: int) -> open_clip.CLIP:
    """A tower with fresh weights and a token table of `vocabulary_size` rows (see `captions.Vocabulary`)."""
    text = {**MODEL_CONFIG["text_cfg"], "vocab_size": vocabulary_size}
    clip = open_clip.CLIP(embed_dim=MODEL_CONFIG["embed_dim"], vision_cfg=MODEL_CONFIG["vision_cfg"], text_cfg=text)
    _start(clip)
    return clip


@torch.no_grad()
def _start(clip: open_clip.CLIP) -> None:
    # The feature of a text must come from its words, not from the end token that all texts share.
    nn.init.normal_(clip.token_embedding.weight, std=0.3)
    clip.token_embedding.weight[-1] = 0
    visual = clip.visual
    width, grid = visual.class_embedding.shape[0], visual.grid_size[0]
    visual.positional_embedding[1:] = 0.5 * _waves(grid, width)
    visual.positional_embedding[0] = 0
    for block in visual.transformer.resblocks:
        scale = 0.02
        for linear in (block.mlp.c_fc, block.mlp.c_proj, block.attn.out_proj):
            nn.init.trunc_normal_(linear.weight, std=scale * (8 / width * 24) ** 0.5)
        # Queries and keys start out alike, so that a patch first looks at patches like itself and near itself.
        query = torch.randn(width, width) * (0.6 / width**0.5)
        block.attn.in_proj_weight[:width] = query
        block.attn.in_proj_weight[width : 2 * width] = query + 0.1 * torch.randn(width, width) / width**0.5
        nn.init.normal_(block.attn.in_proj_weight[2 * width :], std=width**-0.5)
    # Gray patches start as their cosine transform, equal for the three channels. Low frequencies are so strong in
    # images that the norm behind would hide all else, brightness itself being saturated: they are damped.
    patch = visual.conv1.kernel_size[0]
    visual.conv1.weight.copy_(_cosines(patch, width)[:, None].expand(-1, 3, -1, -1) / 3)


def _waves(grid: int, width: int) -> Tensor:
    """(grid * grid, width) sines and cosines of the row and the column."""
    line = (torch.arange(grid) + 0.5) / grid
    frequencies = math.pi * torch.logspace(0, math.log10(grid / 2), width // 4)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    angles = [part.reshape(-1, 1) * frequencies for part in (rows, columns)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def _cosines(patch: int, width: int) -> Tensor:
    line = (torch.arange(patch) + 0.5) * (math.pi / patch)
    pairs = sorted(((r, c) for r in range(patch) for c in range(patch)), key=lambda pair: pair[0] ** 2 + pair[1] ** 2)
    basis = [torch.cos(r * line)[:, None] * torch.cos(c * line)[None] for r, c in pairs]
    damping = [min(0.6, 0.15 * max(1.0, math.hypot(r, c))) for r, c in pairs]
    filters = torch.stack([d * b / b.norm() for d, b in zip(damping, basis, strict=True)])[:width]
    if len(filters) < width:
        extra = torch.randn(width - len(filters), patch, patch)
        filters = torch.cat((filters, 0.3 * extra / extra.flatten(1).norm(dim=1)[:, None, None]))
    return filters


def vision_features(clip: open_clip.CLIP, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(b, D) class features and the patch tokens (b, N, C) after each of FEATURE_LAYERS.

    Same arithmetic as open_clip's, for any image size: the position grid is resized on the fly, with gradients.
    """
    visual = clip.visual
    tokens = visual.conv1(images)
    grid = tokens.shape[-1]
    tokens = tokens.flatten(2).transpose(1, 2)
    first = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    positions = resized_positions(visual.positional_embedding, grid)
    tokens = visual.ln_pre(torch.cat((first, tokens), dim=1) + positions.to(tokens.dtype))
    patches = []
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        tokens = block(tokens)
        if number in FEATURE_LAYERS:
            patches.append(tokens[:, 1:])
    return visual.ln_post(tokens[:, 0]) @ visual.proj, patches


def resized_positions(positions: Tensor, grid: int) -> Tensor:
    """A position table (1 + n * n, C) for a grid of `grid` x `grid` patches."""
    side = math.isqrt(len(positions) - 1)
    if side == grid:
        return positions
    table = positions[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    table = interpolate(table, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat((positions[:1], table.flatten(2)[0].T))


def text_features(clip: open_clip.CLIP, rows: Tensor, ends: Tensor) -> Tensor:
    """(n, D) features of token rows (n, L) that end at `ends`; positions behind the end are never computed."""
    length = rows.shape[1]
    tokens = clip.token_embedding(rows) + clip.positional_embedding[:length]
    tokens = clip.transformer(tokens, attn_mask=clip.attn_mask[:length, :length])
    features: Tensor = clip.ln_final(tokens)[torch.arange(len(rows)), ends] @ clip.text_projection
    return features
