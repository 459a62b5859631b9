"""Attention of CLIP's blocks without the detours of `nn.MultiheadAttention`."""

from functools import lru_cache

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from medzsad.clip.spec import Attention


class FusedAttention(nn.Module):
    """Self-attention with the parameters, and thus the state dict, of an `nn.MultiheadAttention`.

    That module turns (b, n, C) round before it multiplies. PyTorch then treats the product as n small ones, in mixed
    precision with n copies of the weights, which takes longer than the rest of the tower.

    Args:
        attention: Whose parameters are taken over; batch first, queries, keys and values of one width, no dropout.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """The attended (b, n, C), and None where `nn.MultiheadAttention` may give weights.

        Args:
            query: (b, n, C).
            key: The same tensor.
            value: The same tensor.
            need_weights: There are none to be had.
            attn_mask: (n, n), added to the attention before its softmax.
        """
        if key is not query or value is not query or need_weights:
            raise ValueError("FusedAttention is self-attention and gives no weights.")
        heads = self._heads(query)
        mask = None if attn_mask is None else attn_mask.to(heads.dtype)
        return self._joined(scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)), None

    def two_streams(self, x: Tensor, attention: Attention, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The attended (b, n, C), and the local attention beside it (METHODS B.1, D.0).

        Args:
            x: (b, n, C).
            attention: `vv` lets values take the place of queries and keys; `qqkkvv` adds to that the attention of
                queries to queries and of keys to keys. The sum is projected once.
            seen: (n, n) bool, which tokens (columns) each token (row) attends to in the local attention; None for all.
        """
        query, key, value = self._heads(x)
        local = scaled_dot_product_attention(value, value, value, attn_mask=seen)
        if attention == "qqkkvv":
            local = local + scaled_dot_product_attention(query, query, value, attn_mask=seen)
            local = local + scaled_dot_product_attention(key, key, value, attn_mask=seen)
        return self._joined(scaled_dot_product_attention(query, key, value)), self._joined(local)

    def values(self, x: Tensor) -> Tensor:
        """Values (b, n, C) of x (b, n, C), the heads side by side."""
        width = x.shape[-1]
        return linear(x, self.in_proj_weight[-width:], self.in_proj_bias[-width:])

    def weighted(self, weights: Tensor, values: Tensor) -> Tensor:
        """The attended (b, n, C) where all heads share the attention (b, n, n) that is given.

        Args:
            weights: Rows summing to 1.
            values: (b, n, C), see `values`.
        """
        result: Tensor = self.out_proj(weights @ values)
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """Queries, keys and values, (3, b, heads, n, C / heads)."""
        projected = linear(x, self.in_proj_weight, self.in_proj_bias)
        return projected.reshape(*x.shape[:-1], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)

    def _joined(self, attended: Tensor) -> Tensor:
        result: Tensor = self.out_proj(attended.transpose(1, 2).flatten(-2))
        return result


@lru_cache(maxsize=4)
def window_mask(grid: tuple[int, int], window: int) -> Tensor:
    """(1 + N, 1 + N) bool, whether a token (row) sees a token (column) where patches see their neighbors only.

    It is the same tensor for every batch, so nobody may change it.

    The class token sees everything; a patch does not see the class token, which stands for the whole image (METHODS
    I, locality-aware attention).

    Args:
        grid: Rows and columns of the patches, N = rows * columns, row by row.
        window: Side of the square of patches around each that it sees, an odd number.
    """
    rows, columns = (torch.arange(size) for size in grid)
    places = torch.cartesian_prod(rows, columns)
    far = (places[:, None] - places[None]).abs().amax(dim=-1)
    seen = torch.ones(len(places) + 1, len(places) + 1, dtype=torch.bool)
    seen[1:, 0] = False
    seen[1:, 1:] = far <= window // 2
    return seen


def fuse_attention(clip: open_clip.CLIP) -> None:
    """Puts `FusedAttention` in the place of every `nn.MultiheadAttention` of both towers."""
    for module in list(clip.modules()):
        attention = getattr(module, "attn", None)
        if isinstance(attention, nn.MultiheadAttention) and attention.batch_first:
            module.attn = FusedAttention(attention)
