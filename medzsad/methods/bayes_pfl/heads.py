"""The heads of Bayes-PFL: text features refined on patches, and a summary of the patches (METHODS A.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

_HEADS = 4


class PatchRefinement(nn.Module):
    """Residual cross-model attention: text features look at the patch tokens of each layer."""

    def __init__(self, *, width: int, vision_width: int, layer_count: int) -> None:
        super().__init__()
        self.query = nn.Conv1d(width, width, 1)
        self.patches = nn.ModuleList(nn.Linear(vision_width, width, bias=False) for _ in range(layer_count))

    def forward(self, patches: Sequence[Tensor], text: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per layer, unit patch features (b, N, D) and unit refined text features (b, T, D).

        Args:
            patches: One (b, N, C) per layer.
            text: (b, T, D), unit length.
        """
        query = _split_heads(self.query(text.transpose(1, 2)).transpose(1, 2))
        refined = []
        for layer, tokens in zip(self.patches, patches, strict=True):
            features = normalize(layer(tokens).float(), dim=-1)
            keys = _split_heads(features.to(query.dtype))
            # The authors scale by the full width, not by the width of a head.
            seen = scaled_dot_product_attention(query, keys, keys, scale=text.shape[-1] ** -0.5)
            seen = seen.transpose(1, 2).flatten(-2)
            refined.append((features, normalize(seen.float() + text, dim=-1)))
        return refined


def _split_heads(x: Tensor) -> Tensor:
    return x.reshape(*x.shape[:-1], _HEADS, -1).transpose(1, 2)  # (b, heads, n, D / heads)


class PatchSummary(nn.Module):
    """One vector per image from the patch tokens of all layers, weighted by learned attention."""

    def __init__(self, *, width: int, hidden: int, vision_width: int, layer_count: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(vision_width * layer_count, hidden)
        self.weigh = nn.Linear(hidden, 1)
        self.expand = nn.Linear(hidden, width)

    def forward(self, patches: Sequence[Tensor]) -> Tensor:
        """(b, D) from one (b, N, C) per layer."""
        x = self.reduce(torch.cat(tuple(patches), dim=-1))
        weights = self.weigh(x).softmax(dim=1)
        summary: Tensor = self.expand((weights * x).sum(dim=1))
        return summary
